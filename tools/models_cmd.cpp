// `coss models`: the networks that --model, teacher.model and student.model name.
#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "models/network.h"
#include "tools/command.h"
#include "tools/commands.h"

namespace coss {

namespace {

// Trainable numbers of the published network; registering parameters allocates nothing.
int64_t parameters_of(const ModelInfo& model) {
  Params params;
  const auto network = model.make(Scope(params), model.classes);
  int64_t count = 0;
  for (const Params::Entry& entry : params.entries())
    if (entry.role != Params::Role::stat) count += entry.shape.numel();
  return count;
}

void list_models(const CommonOptions& options) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const ModelInfo& model : models()) {
    const int64_t parameters = parameters_of(model);
    if (options.json) {
      list.push_back({{"name", model.name},
                      {"parameters", parameters},
                      {"feature_width", model.feature_width},
                      {"image_size", model.image_size},
                      {"classes", model.classes},
                      {"description", model.description}});
    } else {
      if (list.empty())
        fmt::print("{:<20} {:>12} {:>9} {:>6} {:>8}  {}\n", "name", "parameters", "features", "size", "classes", "");
      list.push_back(model.name);
      fmt::print("{:<20} {:>12} {:>9} {:>6} {:>8}  {}\n", model.name, parameters, model.feature_width, model.image_size,
                 model.classes, model.description);
    }
  }
  if (options.json) fmt::print("{}\n", nlohmann::ordered_json{{"models", list}}.dump());
}

}  // namespace

void add_models(CLI::App& program) {
  auto options = std::make_shared<CommonOptions>();
  CLI::App* command = program.add_subcommand("models", "List the networks: parameters, feature width, image size");
  add_json(*command, *options);
  add_example(*command, "coss models --json");
  command->callback([options] { list_models(*options); });
}

}  // namespace coss
