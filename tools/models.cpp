// `coss models`: lists the networks for --model, teacher.model and student.model.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <string_view>

#include "models/cost.h"
#include "tools/command.h"
#include "tools/commands.h"

namespace coss {

namespace {

void list_models(const CommonOptions& options) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  size_t width = 0;
  for (const ModelInfo& model : models()) width = std::max(width, std::string_view(model.name).size());
  for (const ModelInfo& model : models()) {
    const ModelCost cost = cost_of(model);
    const int64_t memory = training_memory(model, DType::bf16);
    if (options.json) {
      list.push_back({{"name", model.name},
                      {"parameters", cost.parameters},
                      {"macs", cost.macs},
                      {"feature_width", model.feature_width},
                      {"training_bytes_per_image", memory},
                      {"image_size", model.image_size},
                      {"classes", model.classes},
                      {"description", model.description}});
    } else {
      if (list.empty())
        fmt::print("{:<{}} {:>11} {:>11} {:>8} {:>10} {:>5} {:>7}\n", "name", width, "parameters", "MACs", "features",
                   "MiB/image", "size", "classes");
      list.push_back(model.name);
      fmt::print("{:<{}} {:>11} {:>10.3f}G {:>8} {:>10.1f} {:>5} {:>7}  {}\n", model.name, width, cost.parameters,
                 double(cost.macs) * 1e-9, model.feature_width, double(memory) / (1 << 20), model.image_size,
                 model.classes, model.description);
    }
  }
  if (options.json) fmt::print("{}\n", nlohmann::ordered_json{{"models", list}}.dump());
}

}  // namespace

void add_models(CLI::App& program) {
  auto options = std::make_shared<CommonOptions>();
  CLI::App* command = program.add_subcommand("models", "list the networks: parameters, cost, memory, feature width");
  add_json(*command, *options);
  add_example(*command, "coss models --json");
  command->callback([options] { list_models(*options); });
}

}  // namespace coss
