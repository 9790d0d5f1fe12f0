// Finds out how many classes a file's classifier has, builds the network accordingly and fills it.
#include "tools/loaded_network.h"

#include <fmt/format.h>

#include "engine/text.h"
#include "formats/tensor_file.h"
#include "formats/weights.h"

namespace coss {
namespace {

constexpr const char* kClassifierPrefixes[] = {"fc.", "linear.", "classifier."};

// Rows of the file's classifier weight; 0 when it has none.
int64_t classes_in(const TensorFile& file) {
  for (const FileTensor& tensor : file.tensors())
    for (const char* prefix : kClassifierPrefixes) {
      const size_t at = tensor.name.rfind(prefix);
      const bool starts_a_part = at == 0 || (at != std::string::npos && tensor.name[at - 1] == '.');
      if (starts_a_part && tensor.shape.size() == 2 && tensor.name.ends_with("weight")) return tensor.shape[0];
    }
  return 0;
}

}  // namespace

bool is_classifier(const std::string& parameter_name) {
  for (const char* prefix : kClassifierPrefixes)
    if (parameter_name.starts_with(prefix)) return true;
  return false;
}

std::unique_ptr<LoadedNetwork> load_network(const std::string& name, const std::string& weights, Classifier classifier,
                                            Device device, DType dtype, uint64_t seed) {
  const ModelInfo& info = find_model(name);
  auto loaded = std::make_unique<LoadedNetwork>();
  loaded->image_size = info.image_size;
  int64_t classes = info.classes;
  if (!weights.empty()) {
    const TensorFile file = open_tensor_file(weights);
    if (const int64_t found = classes_in(file)) classes = found;
    const auto mark = file.metadata().find("classifier");
    COSS_CHECK(classifier == Classifier::optional || mark == file.metadata().end() || mark->second != "untrained",
               weights +
                   ": its classifier was never trained (it was distilled without labels); evaluate it with "
                   "'coss eval knn' or 'coss eval linear'");
  }
  loaded->network = info.make(Scope(loaded->params, "network"), classes);
  loaded->params.allocate(device, dtype, seed, /*frozen=*/true);
  if (weights.empty()) return loaded;
  const WeightReport report = load_weights(weights, loaded->params, "network", [&](const std::string& parameter) {
    return classifier == Classifier::optional && is_classifier(parameter);
  });
  loaded->normalisation = report.normalisation;
  loaded->report = report.str();
  return loaded;
}

}  // namespace coss
