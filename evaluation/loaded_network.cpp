// Builds what a checkpoint holds, and fills it.
#include "evaluation/loaded_network.h"

#include <fmt/format.h>

#include "models/renormalized.h"

namespace coss {
namespace {

// Initial values in place of weights.
std::unique_ptr<LoadedNetwork> build(const std::string& model, int64_t classes, Device device, DType dtype,
                                     uint64_t seed) {
  const ModelInfo& info = find_model(model);
  auto built = std::make_unique<LoadedNetwork>();
  built->model = model;
  built->image_size = info.image_size;
  built->network = info.make(Scope(built->params, "network"), classes);
  built->params.allocate(device, dtype, seed, /*frozen=*/true);
  return built;
}

}  // namespace

void LoadedNetwork::take_images_of(const Normalization& given) {
  if (given == normalization) return;
  network = std::make_unique<Renormalized>(std::move(network), given, normalization);
  report += fmt::format(
      "; images of mean {} and standard deviation {} are mapped to mean {} and standard deviation {} for it",
      channels_text(given.mean), channels_text(given.stddev), channels_text(normalization.mean),
      channels_text(normalization.stddev));
}

std::unique_ptr<LoadedNetwork> load_network(const Checkpoint& checkpoint, Classifier classifier, Device device,
                                            DType dtype) {
  const WeightFacts& facts = checkpoint.facts();
  const bool required = classifier == Classifier::required;
  COSS_CHECK(!required || facts.trained,
             checkpoint.file().path() +
                 ": its classifier was never trained (it was distilled without labels); evaluate it with "
                 "'coss eval knn' or 'coss eval linear'");
  const int64_t classes = facts.classes == 0 && required ? find_model(facts.model).classes : facts.classes;
  auto loaded = build(facts.model, classes, device, dtype, /*seed=*/0);
  loaded->normalization = facts.normalization;
  loaded->bicubic = facts.bicubic;
  const WeightReport report = checkpoint.load_into(loaded->params, "network", classifier);
  loaded->report = (facts.note.empty() ? "" : facts.note + "; ") + report.str();
  return loaded;
}

std::unique_ptr<LoadedNetwork> random_network(const std::string& model, Device device, DType dtype, uint64_t seed) {
  return build(model, find_model(model).classes, device, dtype, seed);
}

std::unique_ptr<LoadedHead> load_head(const Checkpoint& checkpoint, Device device, DType dtype) {
  auto tensors = checkpoint.head_tensors();
  if (tensors.empty()) return nullptr;
  std::vector<ProjectionTensor> shapes;
  for (auto& [tensor, stored] : tensors) {
    if (tensor.find('.') == std::string::npos) tensor = "0." + tensor;  // a linear layer alone, as MoCo v1 has it
    shapes.push_back({tensor, stored->shape});
  }
  ProjectionOptions options = projection_from(shapes);
  const Layout* layout = checkpoint.match().layout;
  if (layout && layout->name == std::string("swav")) options.unit_length = true;
  auto loaded = std::make_unique<LoadedHead>();
  loaded->head = std::make_unique<ProjectionHead>(Scope(loaded->params), options);
  loaded->params.allocate(device, dtype, /*seed=*/0, /*frozen=*/true);
  load_tensors(checkpoint.file(), tensors, loaded->params);
  return loaded;
}

}  // namespace coss
