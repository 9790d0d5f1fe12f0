// Device and dtype come first: they need no file.
#include "training/resolve.h"

#include <algorithm>

#include "engine/choice.h"
#include "training/recipe.h"

namespace coss {
namespace {

// A run keeps the dtype and the normalization that it was started with, on whatever machine it is continued.
void take_from_run(const std::string& folder, Config& config) {
  const Config started = load_config(folder + "/config.json", {});
  if (config.dtype == "auto") config.dtype = started.dtype;
  if (!config.data.mean) config.data.mean = started.data.mean;
  if (!config.data.stddev) config.data.stddev = started.data.stddev;
}

// A student that starts from weights gets the images that they were trained on, unless the recipe says otherwise. The
// teacher maps these images to its own (LoadedNetwork::take_images_of).
Normalization settle_normalization(const Checkpoint* student, DataConfig& data) {
  Normalization normalization;
  if (student) normalization = student->facts().normalization;
  const auto settle = [](std::optional<Channels>& given, float(&values)[3]) {
    if (given) std::copy(given->begin(), given->end(), values);
    given = std::to_array(values);
  };
  settle(data.mean, normalization.mean);
  settle(data.stddev, normalization.stddev);
  return normalization;
}

}  // namespace

ResolvedRecipe resolve(Config config, const std::string& continued) {
  if (!continued.empty()) take_from_run(continued, config);
  ResolvedRecipe recipe;
  recipe.device = resolve_device(config.device);
  config.device = name_of(recipe.device);
  recipe.dtype = resolve_dtype(config.dtype, recipe.device);
  config.dtype = dtype_name(recipe.dtype);
  const TeacherConfig& teacher = config.teacher;
  if (find_method(config.method.name).needs.teacher)
    recipe.teacher = std::make_unique<Checkpoint>(teacher.weights, teacher.model, teacher.from);
  const StudentConfig& student = config.student;
  if (!student.weights.empty())
    recipe.student = std::make_unique<Checkpoint>(student.weights, student.model, student.from);
  recipe.normalization = settle_normalization(recipe.student.get(), config.data);
  recipe.views = list_views(config);
  recipe.micro_batch = config.train.batch / config.train.accumulate;
  recipe.micro_anchors = recipe.micro_batch / (1 + config.neighbors.nearest);
  recipe.config = std::move(config);
  return recipe;
}

}  // namespace coss
