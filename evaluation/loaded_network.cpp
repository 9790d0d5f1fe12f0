// Finds out which network a file's weights want and how many classes its classifier has, builds it and fills it.
#include "evaluation/loaded_network.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/text.h"
#include "formats/tensor_file.h"
#include "formats/weights.h"
#include "models/renormalized.h"

namespace coss {
namespace {

constexpr const char* kClassifierPrefixes[] = {"fc.", "linear.", "classifier.", "head.weight", "head.bias"};

std::string said(const TensorFile& file, const std::string& key) {
  const auto found = file.metadata().find(key);
  return found == file.metadata().end() ? "" : found->second;
}

bool is_variant(const std::string& model, const std::string& other) {
  const std::vector<std::string> layouts = layout_names();
  return std::any_of(layouts.begin(), layouts.end(),
                     [&](const std::string& layout) { return variant_for(model, layout) == other; });
}

// What `model` wants of a file; a classifier of any number of classes will do.
std::vector<WantedTensor> wanted_of(const std::string& model) {
  const ModelInfo& info = find_model(model);
  const int64_t classes = std::max<int64_t>(info.classes, 1);
  Params params;
  const auto network = info.make(Scope(params), classes);
  std::vector<WantedTensor> wanted = wanted_tensors(params, "", is_classifier);
  for (WantedTensor& want : wanted)
    if (want.optional && want.shape[0] == classes) want.shape[0] = -1;
  return wanted;
}

WeightFacts facts_of(const std::string& asked, const TensorFile& file, const std::string& from) {
  const std::vector<WantedTensor> wanted = wanted_of(asked);
  const LayoutMatch match = match_layout(file, wanted, from);

  WeightFacts facts;
  for (size_t i = 0; i < wanted.size(); ++i)
    if (match.tensors[i] && wanted[i].shape.size() >= 2 && wanted[i].shape[0] < 0)
      facts.classes = match.tensors[i]->shape[0];
  facts.normalization = WeightReport(file, match).normalization;
  const std::string interpolation = said(file, "interpolation");
  facts.bicubic = (interpolation.empty() && match.layout ? match.layout->interpolation : interpolation) == "bicubic";

  const std::string model = said(file, "model");
  if (model == asked || is_variant(asked, model)) {
    facts.model = model;
  } else {
    facts.model = variant_for(asked, match.names_of());
  }
  if (facts.model != asked)
    facts.note = fmt::format("the weights are those of a {}, which is built instead of {}", facts.model, asked);
  return facts;
}

}  // namespace

WeightFacts facts_of_weights(const std::string& model, const std::string& weights, const std::string& from) {
  return facts_of(model, open_tensor_file(weights), from);
}

bool is_classifier(const std::string& parameter_name) {
  for (const char* prefix : kClassifierPrefixes)
    if (parameter_name.starts_with(prefix)) return true;
  return false;
}

void LoadedNetwork::take_images_of(const Normalization& given) {
  if (given == normalization) return;
  network = std::make_unique<Renormalized>(std::move(network), given, normalization);
  if (!report.empty()) report += "; ";
  report +=
      fmt::format("images of mean {} and standard deviation {} are mapped to mean {} and standard deviation {} for it",
                  channels_text(given.mean), channels_text(given.stddev), channels_text(normalization.mean),
                  channels_text(normalization.stddev));
}

std::unique_ptr<LoadedNetwork> load_network(const std::string& name, const std::string& weights, Classifier classifier,
                                            Device device, DType dtype, const std::string& from, uint64_t seed) {
  auto loaded = std::make_unique<LoadedNetwork>();
  WeightFacts facts;
  facts.model = name;
  if (!weights.empty()) {
    const TensorFile file = open_tensor_file(weights);
    facts = facts_of(name, file, from);
    COSS_CHECK(classifier == Classifier::optional || said(file, "classifier") != "untrained",
               weights +
                   ": its classifier was never trained (it was distilled without labels); evaluate it with "
                   "'coss eval knn' or 'coss eval linear'");
  }
  const ModelInfo& info = find_model(facts.model);
  loaded->model = facts.model;
  loaded->image_size = info.image_size;
  const bool own = weights.empty() || classifier == Classifier::required;
  const int64_t classes = facts.classes > 0 ? facts.classes : own ? info.classes : 0;
  loaded->network = info.make(Scope(loaded->params, "network"), classes);
  loaded->params.allocate(device, dtype, seed, /*frozen=*/true);
  if (weights.empty()) return loaded;
  const auto optional = [&](const std::string& parameter) {
    return classifier == Classifier::optional && is_classifier(parameter);
  };
  const WeightReport report = load_weights(weights, loaded->params, "network", optional, from);
  loaded->normalization = facts.normalization;
  loaded->bicubic = facts.bicubic;
  loaded->report = (facts.note.empty() ? "" : facts.note + "; ") + report.str();
  return loaded;
}

std::unique_ptr<LoadedHead> load_head(const std::string& name, const std::string& weights, Device device, DType dtype,
                                      const std::string& from) {
  const TensorFile file = open_tensor_file(weights);
  const LayoutMatch match = match_layout(file, wanted_of(name), from);
  auto tensors = head_tensors(file, match);
  if (tensors.empty() && !said(file, "model").empty())  // as `coss convert --keep-heads` writes it
    for (const FileTensor& tensor : file.tensors())
      if (tensor.name.starts_with("head.")) tensors.emplace_back(tensor.name.substr(5), &tensor);
  if (tensors.empty()) return nullptr;
  std::vector<ProjectionTensor> shapes;
  for (auto& [tensor, stored] : tensors) {
    if (tensor.find('.') == std::string::npos) tensor = "0." + tensor;  // a linear layer alone, as MoCo v1 has it
    shapes.push_back({tensor, stored->shape});
  }
  auto loaded = std::make_unique<LoadedHead>();
  ProjectionOptions options = projection_from(shapes);
  if (match.layout && match.layout->name == std::string("swav")) options.unit_length = true;
  loaded->head = std::make_unique<ProjectionHead>(Scope(loaded->params), options);
  loaded->params.allocate(device, dtype, 0, /*frozen=*/true);
  load_tensors(file, tensors, loaded->params);
  return loaded;
}

}  // namespace coss
