// `coss inspect FILE`: shows what a checkpoint holds. It reads names and shapes only, so large files are no problem.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "engine/text.h"
#include "evaluation/checkpoint.h"
#include "tools/command.h"
#include "tools/commands.h"

namespace coss {

namespace {

struct InspectOptions {
  CommonOptions common;
  std::string file;
};

std::string dump(const nlohmann::ordered_json& json) {
  // Names in a file may be any bytes; those that are no UTF-8 are replaced.
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

// The model and its layout; both are empty if the file holds no network that coss knows.
std::pair<std::string, std::string> network_in(const TensorFile& file) try {
  const Checkpoint checkpoint(file);
  return {checkpoint.facts().model, checkpoint.match().layout_name()};
} catch (const Error&) {
  return {};
}

void inspect(const InspectOptions& options) {
  const TensorFile file = open_tensor_file(options.file);
  const auto [model, layout] = network_in(file);
  int64_t numbers = 0, bytes = 0;
  size_t width = 4;
  for (const FileTensor& tensor : file.tensors()) {
    numbers += tensor.numel();
    bytes += tensor.bytes();
    width = std::clamp(tensor.name.size(), width, size_t(70));
  }

  if (options.common.json) {
    nlohmann::ordered_json tensors = nlohmann::ordered_json::array();
    for (const FileTensor& tensor : file.tensors())
      tensors.push_back({{"name", tensor.name}, {"dtype", name_of(tensor.dtype)}, {"shape", tensor.shape}});
    fmt::print("{}\n", dump({{"file", options.file},
                             {"container", file.container()},
                             {"model", model},
                             {"layout", layout},
                             {"tensors", tensors},
                             {"metadata", file.metadata()},
                             {"numbers", numbers},
                             {"bytes", bytes}}));
    return;
  }
  fmt::print("{}: {}, {} tensors, {} numbers, {:.1f} MiB\n", options.file, file.container(), file.tensors().size(),
             numbers, double(bytes) / (1 << 20));
  if (!model.empty()) fmt::print("  holds a {}, layout {}\n", model, layout);
  for (const FileTensor& tensor : file.tensors())
    fmt::print("  {:<{}}  {:<7}  {}\n", printable(tensor.name), width, name_of(tensor.dtype), shape_text(tensor.shape));
  for (const auto& [key, value] : file.metadata()) fmt::print("  {} = {}\n", printable(key), printable(value));
}

}  // namespace

void add_inspect(CLI::App& program) {
  auto options = std::make_shared<InspectOptions>();
  CLI::App* command = program.add_subcommand("inspect", "show what a checkpoint file holds");
  command->add_option("file", options->file, "a .safetensors, .pth, .pt, .th, .npz or .npy file")->required();
  add_json(*command, options->common);
  add_example(*command, "coss inspect runs/quickstart/student.safetensors");
  command->callback([options] { inspect(*options); });
}

}  // namespace coss
