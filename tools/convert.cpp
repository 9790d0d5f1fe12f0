// `coss convert IN OUT`: takes the network out of a checkpoint and writes it for coss or another library.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "engine/check.h"
#include "evaluation/checkpoint.h"
#include "formats/detectron_writer.h"
#include "formats/outputs.h"
#include "formats/torch_writer.h"
#include "formats/weight_numbers.h"
#include "tools/command.h"
#include "tools/commands.h"
#include "tools/onnx_export.h"

namespace coss {

namespace {

using Json = nlohmann::ordered_json;

struct ConvertOptions {
  CommonOptions common;
  std::string in, out, model, from = "auto", to, names;
  bool keep_heads = false, force = false;
};

NamedTensor copy_of(const TensorFile& file, const FileTensor& tensor, const std::string& name) {
  return {name, tensor.dtype, tensor.shape, file.read_bytes(tensor)};
}

// The counter of batches that belongs to a running mean. If the file has none, it is 0, since PyTorch wants one.
NamedTensor batch_counter(const TensorFile& file, const FileTensor& mean, const std::string& mean_name) {
  constexpr char kMean[] = "running_mean", kCounter[] = "num_batches_tracked";
  const auto beside = [&](const std::string& name) {
    return name.substr(0, name.size() - sizeof(kMean) + 1) + kCounter;
  };
  const FileTensor* counter = mean.name.ends_with(kMean) ? file.find(beside(mean.name)) : nullptr;
  if (counter && counter->shape.empty()) return copy_of(file, *counter, beside(mean_name));
  return {beside(mean_name), FileDType::i64, {}, std::vector<uint8_t>(8)};
}

// The tensors as a library names and shapes them; coss's own names are torchvision's, and timm's for ViTs.
std::vector<WantedTensor> named_for(const std::string& library, const Checkpoint& checkpoint) {
  const std::vector<WantedTensor>& wanted = checkpoint.wanted();
  const auto any = [&](const char* part) {
    return std::any_of(wanted.begin(), wanted.end(),
                       [&](const WantedTensor& want) { return want.name.find(part) != std::string::npos; });
  };
  const bool clip = any("attnpool.") || any("resblocks."), vit = any("patch_embed.");
  if (library.empty() || (library == "torchvision" && !clip && !vit)) return wanted;
  const NameRule rule = library == "lukemelas" ? NameRule::lukemelas
                        : library == "d-li14"  ? NameRule::dli14
                                               : NameRule::timm;
  std::vector<WantedTensor> names = spelled(rule, wanted);
  const bool known = library != "torchvision" && std::none_of(names.begin(), names.end(), [](const WantedTensor& want) {
                       return want.name.empty();
                     });
  if (known) return names;
  const bool same = library == "timm" && !clip && (vit || any("layer4."));
  COSS_CHECK(same, fmt::format("{} has no names for a {}; without --names it is written under {} names", library,
                               checkpoint.facts().model,
                               clip  ? "CLIP's"
                               : vit ? "timm's"
                                     : "torchvision's"));
  return wanted;
}

// A copy of a tensor of the network or the head. Its numbers are checked as those of loaded weights are.
NamedTensor checked_copy(const TensorFile& file, const FileTensor& tensor, const std::string& name) {
  NamedTensor copy = copy_of(file, tensor, name);
  check_numbers(file, tensor, name, floats_from(copy.bytes, copy.dtype, file.path() + ": " + tensor.name).data());
  return copy;
}

NamedTensor shaped_copy(const TensorFile& file, const FileTensor& tensor, const WantedTensor& as) {
  NamedTensor copy = checked_copy(file, tensor, as.name);
  int64_t others = 1;
  for (int64_t size : as.shape) others *= size < 0 ? 1 : size;
  copy.shape = as.shape;
  for (int64_t& size : copy.shape) {
    if (size < 0) size = tensor.numel() / std::max<int64_t>(others, 1);
  }
  return copy;
}

std::vector<NamedTensor> converted(const Checkpoint& checkpoint, const ConvertOptions& options) {
  const TensorFile& file = checkpoint.file();
  std::vector<NamedTensor> tensors;
  const std::vector<WantedTensor> names = named_for(options.names, checkpoint);
  for (size_t i = 0; i < names.size(); ++i) {
    const FileTensor* tensor = checkpoint.match().tensors[i];
    if (!tensor) continue;
    tensors.push_back(shaped_copy(file, *tensor, names[i]));
    if (names[i].name.ends_with("running_mean")) tensors.push_back(batch_counter(file, *tensor, names[i].name));
  }
  if (!options.keep_heads) return tensors;
  for (const auto& [name, tensor] : checkpoint.head_tensors()) {
    tensors.push_back(checked_copy(file, *tensor, "head." + name));
  }
  return tensors;
}

std::map<std::string, std::string> metadata_of(const Checkpoint& checkpoint, const WeightReport& report) {
  const TensorFile& file = checkpoint.file();
  // What a safetensors file says about itself is kept. What stands in a PyTorch checkpoint is about its training.
  std::map<std::string, std::string> metadata;
  if (file.container() == "safetensors") metadata = file.metadata();
  metadata["model"] = checkpoint.facts().model;
  metadata["image_mean"] = channels_text(report.normalization.mean);
  metadata["image_stddev"] = channels_text(report.normalization.stddev);
  metadata["layout"] = report.layout;
  // Neither names nor shapes tell these to another library.
  if (const std::optional<Numerics>& numerics = find_model(checkpoint.facts().model).numerics) {
    metadata.emplace("bn_eps", fmt::format("{}", numerics->eps));
    if (numerics->same_padding) metadata.emplace("padding", "same");
    if (numerics->gate_first) metadata.emplace("se_before_activation", "true");
  }
  const Layout* const layout = checkpoint.match().layout;
  if (layout && layout->interpolation[0] != '\0') metadata["interpolation"] = layout->interpolation;
  // CLIP's archives name the size of their images.
  const auto size = file.metadata().find("input_resolution");
  if (size != file.metadata().end()) metadata["image_size"] = size->second;
  return metadata;
}

// "safetensors", "pth", "onnx" or "detectron2".
std::string container_for(const ConvertOptions& options) {
  if (!options.to.empty()) return options.to;
  const std::string suffix = std::filesystem::path(options.out).extension().string();
  if (suffix == ".safetensors") return "safetensors";
  if (suffix == ".onnx") return "onnx";
  if (suffix == ".pkl") return "detectron2";
  COSS_CHECK(suffix == ".pth" || suffix == ".pt",
             options.out +
                 ": end the name in .safetensors, .pth, .onnx or .pkl, or say --to safetensors, pth, onnx or "
                 "detectron2");
  return "pth";
}

void convert(const ConvertOptions& options) {
  const std::string to = container_for(options);
  check_output(options.out, {options.in}, options.force);
  COSS_CHECK((to != "detectron2" && to != "onnx") || (options.names.empty() && !options.keep_heads),
             to + " files have their own names and no head: leave --names and --keep-heads out");

  const Checkpoint checkpoint(options.in, options.model, options.from);
  const std::vector<NamedTensor> tensors = converted(checkpoint, options);
  const WeightReport report = checkpoint.report();
  const std::map<std::string, std::string> metadata = metadata_of(checkpoint, report);
  if (to == "pth") {
    write_torch_zip(options.out, tensors);
  } else if (to == "detectron2") {
    write_detectron(options.out, tensors);
  } else if (to == "onnx") {
    export_onnx(checkpoint, options.out, metadata);
  } else {
    write_safetensors(options.out, tensors, metadata);
  }

  const int64_t heads = std::count_if(tensors.begin(), tensors.end(),
                                      [](const NamedTensor& tensor) { return tensor.name.starts_with("head."); });
  if (options.common.json) {
    const Json json = {{"in", options.in},
                       {"out", options.out},
                       {"container", report.container},
                       {"model", checkpoint.facts().model},
                       {"layout", report.layout},
                       {"prefix", report.stripped_prefix},
                       {"image_mean", metadata.at("image_mean")},
                       {"image_stddev", metadata.at("image_stddev")},
                       {"matched", report.matched},
                       {"head_tensors", heads},
                       {"missing", report.missing},
                       {"mismatched", report.mismatched},
                       {"left_over", report.unexpected},
                       {"written", tensors.size()},
                       {"metadata", metadata}};
    // Names in a file may be any bytes; those that are no UTF-8 are replaced.
    fmt::print("{}\n", json.dump(-1, ' ', false, Json::error_handler_t::replace));
    return;
  }
  fmt::print("{}: {}, {}\n", options.in, checkpoint.facts().model, report.str());
  if (to == "onnx") {
    fmt::print("{}: the network is written", options.out);
  } else {
    fmt::print("{}: {} tensors written", options.out, tensors.size());
  }
  if (heads > 0) fmt::print(", {} of them the projection head", heads);
  fmt::print("; images of mean {} and standard deviation {}", metadata.at("image_mean"), metadata.at("image_stddev"));
  for (const char* key : {"interpolation", "padding", "bn_eps", "se_before_activation"}) {
    if (const auto said = metadata.find(key); said != metadata.end()) fmt::print(", {} {}", key, said->second);
  }
  fmt::print("\n");
}

}  // namespace

void add_convert(CLI::App& program) {
  auto options = std::make_shared<ConvertOptions>();
  CLI::App* command = program.add_subcommand("convert", "write a checkpoint's network for coss or another library");
  command->add_option("in", options->in, "a checkpoint in any container that coss reads")->required();
  command->add_option("out", options->out, "the file to write: .safetensors, .pth, .pt, .onnx or .pkl")->required();
  command->add_option("--model", options->model, "the network, see 'coss models'; else the largest that fits");
  std::vector<std::string> layouts = layout_names();
  layouts.insert(layouts.begin(), "auto");
  command->add_option("--from", options->from, "the layout of the checkpoint")
      ->check(CLI::IsMember(layouts))
      ->capture_default_str();
  command->add_option("--to", options->to, "the container, if the name of OUT does not tell it")
      ->check(CLI::IsMember({"safetensors", "pth", "onnx", "detectron2"}));
  command
      ->add_option("--names", options->names,
                   "the library whose names are written; else torchvision's, for ViTs timm's")
      ->check(CLI::IsMember({"torchvision", "timm", "lukemelas", "d-li14"}));
  command->add_flag("--keep-heads", options->keep_heads,
                    "also write the projection head, under names that begin with head.");
  add_force(*command, options->force);
  add_json(*command, options->common);
  add_example(*command, "coss convert moco_v2_800ep_pretrain.pth.tar resnet50.safetensors");
  command->callback([options] { convert(*options); });
}

}  // namespace coss
