// `coss convert IN OUT`: takes a network out of somebody's checkpoint and writes it under torchvision's names.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "engine/check.h"
#include "formats/torch_writer.h"
#include "formats/weights.h"
#include "tools/command.h"
#include "tools/commands.h"
#include "tools/loaded_network.h"

namespace coss {

namespace {

using Json = nlohmann::ordered_json;

struct ConvertOptions {
  CommonOptions common;
  std::string in, out, model, from = "auto", to;
  bool keep_heads = false, force = false;
};

struct Found {
  const ModelInfo* model = nullptr;
  std::vector<WantedTensor> wanted;
  LayoutMatch match;
};

// The classifier is optional, and may have any number of classes.
std::vector<WantedTensor> wanted_by(const ModelInfo& model) {
  Params params;
  const auto network = model.make(Scope(params, "network"), model.classes);
  std::vector<WantedTensor> wanted = wanted_tensors(params, "network", is_classifier);
  for (WantedTensor& want : wanted) {
    if (want.optional && want.shape[0] == model.classes) want.shape[0] = -1;
  }
  return wanted;
}

// The network of which most is found, among those of which nothing is missing: a ResNet-34 holds all that a ResNet-18
// wants. By names first, then by order.
Found find_network(const TensorFile& file, const std::string& from) {
  std::vector<Found> candidates;
  for (const ModelInfo& model : models()) {
    std::vector<WantedTensor> wanted = wanted_by(model);
    LayoutMatch match = match_names(file, wanted, from);
    candidates.push_back({&model, std::move(wanted), std::move(match)});
  }
  Found* best = nullptr;
  const auto take_best = [&] {
    for (Found& found : candidates) {
      const bool better = !best || found.match.matched_required > best->match.matched_required;
      if (found.match.complete() && better) best = &found;
    }
  };
  take_best();
  if (best) return std::move(*best);

  const auto fit = [](const Found& found) {
    return double(found.match.matched_required) / double(found.match.required);
  };
  std::stable_sort(candidates.begin(), candidates.end(),
                   [&](const Found& a, const Found& b) { return fit(a) > fit(b); });
  std::string closest;
  for (size_t i = 0; i < std::min<size_t>(candidates.size(), 3); ++i) {
    const LayoutMatch& match = candidates[i].match;
    if (match.matched_required == 0) break;
    closest += fmt::format("{}{} ({} of {} tensors fit)", i ? ", " : "", candidates[i].model->name,
                           match.matched_required, match.required);
  }
  if (from == "auto") {
    for (Found& found : candidates) found.match = match_order(file, found.wanted);
    take_best();
    if (best) return std::move(*best);
  }
  const std::string message = file.path() + " holds no network that coss knows";
  COSS_CHECK(!closest.empty(), message + ": none of its tensors fits any ('coss inspect' lists them)");
  throw Error(message + "; the closest are " + closest + ". Name one with --model to see what is missing");
}

Found find_network(const TensorFile& file, const ConvertOptions& options) {
  if (options.model.empty()) return find_network(file, options.from);
  const ModelInfo& model = find_model(options.model);
  std::vector<WantedTensor> wanted = wanted_by(model);
  LayoutMatch match = match_layout(file, wanted, options.from);
  COSS_CHECK(match.complete(),
             fmt::format("{} does not hold a {}: {}", file.path(), model.name, WeightReport(file, match).str()));
  return {&model, std::move(wanted), std::move(match)};
}

NamedTensor copy_of(const TensorFile& file, const FileTensor& tensor, const std::string& name) {
  return {name, tensor.dtype, tensor.shape, file.read_bytes(tensor)};
}

// The file's counter of batches beside a running mean; 0 where there is none, since PyTorch wants one.
NamedTensor batch_counter(const TensorFile& file, const FileTensor& mean, const std::string& mean_name) {
  constexpr char kMean[] = "running_mean", kCounter[] = "num_batches_tracked";
  const auto beside = [&](const std::string& name) {
    return name.substr(0, name.size() - sizeof(kMean) + 1) + kCounter;
  };
  const FileTensor* counter = mean.name.ends_with(kMean) ? file.find(beside(mean.name)) : nullptr;
  if (counter && counter->shape.empty()) return copy_of(file, *counter, beside(mean_name));
  return {beside(mean_name), FileDType::i64, {}, std::vector<uint8_t>(8)};
}

// What some layouts have at the classifier's place is the projection head, which is no classifier.
void drop_head(Found& found) {
  LayoutMatch& match = found.match;
  if (!match.layout || match.layout->head[0] == '\0') return;
  for (size_t i = 0; i < found.wanted.size(); ++i) {
    const FileTensor*& tensor = match.tensors[i];
    const bool head = found.wanted[i].name.starts_with(std::string(match.layout->head) + ".");
    if (!tensor || !head || !found.wanted[i].optional) continue;
    match.unexpected.push_back(tensor->name + " " + shape_text(tensor->shape));
    match.matched -= 1;
    tensor = nullptr;
  }
}

std::vector<NamedTensor> converted(const TensorFile& file, const Found& found, bool keep_heads) {
  std::vector<NamedTensor> tensors;
  for (size_t i = 0; i < found.wanted.size(); ++i) {
    const std::string& name = found.wanted[i].name;
    const FileTensor* tensor = found.match.tensors[i];
    if (!tensor) continue;
    tensors.push_back(copy_of(file, *tensor, name));
    if (name.ends_with("running_mean")) tensors.push_back(batch_counter(file, *tensor, name));
  }
  if (!keep_heads) return tensors;
  for (const auto& [name, tensor] : head_tensors(file, found.match)) {
    tensors.push_back(copy_of(file, *tensor, "head." + name));
  }
  return tensors;
}

std::map<std::string, std::string> metadata_of(const TensorFile& file, const Found& found, const WeightReport& report) {
  // A safetensors file may say more about itself; what a checkpoint's dictionary says is about a run that is over.
  std::map<std::string, std::string> metadata;
  if (file.container() == "safetensors") metadata = file.metadata();
  metadata["model"] = found.model->name;
  metadata["image_mean"] = channels_text(report.normalisation.mean);
  metadata["image_stddev"] = channels_text(report.normalisation.stddev);
  metadata["layout"] = report.layout;
  return metadata;
}

// "safetensors" or "pth".
std::string container_for(const ConvertOptions& options) {
  if (!options.to.empty()) return options.to;
  const std::string suffix = std::filesystem::path(options.out).extension().string();
  if (suffix == ".safetensors") return "safetensors";
  COSS_CHECK(suffix == ".pth" || suffix == ".pt",
             options.out + ": end the name in .safetensors or .pth, or say --to safetensors or --to pth");
  return "pth";
}

void convert(const ConvertOptions& options) {
  namespace fs = std::filesystem;
  const std::string to = container_for(options);
  std::error_code ignored;
  COSS_CHECK(!fs::equivalent(options.in, options.out, ignored),
             options.out + " is the input itself: name another file");
  COSS_CHECK(options.force || !fs::exists(options.out),
             options.out + " is there already: name another file, or --force");

  const TensorFile file = open_tensor_file(options.in);
  Found found = find_network(file, options);
  drop_head(found);
  const std::vector<NamedTensor> tensors = converted(file, found, options.keep_heads);
  const WeightReport report(file, found.match);
  const std::map<std::string, std::string> metadata = metadata_of(file, found, report);
  if (to == "pth") {
    write_torch_zip(options.out, tensors);
  } else {
    write_safetensors(options.out, tensors, metadata);
  }

  const int64_t heads = std::count_if(tensors.begin(), tensors.end(),
                                      [](const NamedTensor& tensor) { return tensor.name.starts_with("head."); });
  if (options.common.json) {
    const Json json = {{"in", options.in},
                       {"out", options.out},
                       {"container", report.container},
                       {"model", found.model->name},
                       {"layout", report.layout},
                       {"prefix", report.stripped_prefix},
                       {"image_mean", metadata.at("image_mean")},
                       {"image_stddev", metadata.at("image_stddev")},
                       {"matched", report.matched},
                       {"head_tensors", heads},
                       {"missing", report.missing},
                       {"mismatched", report.mismatched},
                       {"left_over", report.unexpected},
                       {"written", tensors.size()}};
    // Names in a file may be any bytes; what is no UTF-8 is replaced.
    fmt::print("{}\n", json.dump(-1, ' ', false, Json::error_handler_t::replace));
    return;
  }
  fmt::print("{}: {}, {}\n", options.in, found.model->name, report.str());
  fmt::print("{}: {} tensors written", options.out, tensors.size());
  if (heads > 0) fmt::print(", {} of them the projection head", heads);
  fmt::print("; images of mean {} and standard deviation {}\n", metadata.at("image_mean"), metadata.at("image_stddev"));
}

}  // namespace

void add_convert(CLI::App& program) {
  auto options = std::make_shared<ConvertOptions>();
  CLI::App* command = program.add_subcommand("convert", "Write a checkpoint's network under torchvision's names");
  command->add_option("in", options->in, "A checkpoint in any container that coss reads")->required();
  command->add_option("out", options->out, "The file to write: .safetensors, .pth or .pt")->required();
  command->add_option("--model", options->model, "The network, see 'coss models'; else it is found by its shapes");
  std::vector<std::string> layouts = layout_names();
  layouts.insert(layouts.begin(), "auto");
  command->add_option("--from", options->from, "Whose layout the checkpoint has")
      ->check(CLI::IsMember(layouts))
      ->capture_default_str();
  command->add_option("--to", options->to, "The container, where the name of OUT does not tell")
      ->check(CLI::IsMember({"safetensors", "pth"}));
  command->add_flag("--keep-heads", options->keep_heads, "Also write the projection head, as head.…");
  command->add_flag("--force", options->force, "Replace OUT if it is there");
  add_json(*command, options->common);
  add_example(*command, "coss convert moco_v2_800ep_pretrain.pth.tar resnet50.safetensors");
  command->callback([options] { convert(*options); });
}

}  // namespace coss
