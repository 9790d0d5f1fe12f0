// One image runs through the frozen network and records it; the image's values do not matter.
#include "tools/onnx_export.h"

#include "engine/kernels.h"
#include "evaluation/loaded_network.h"
#include "formats/onnx_writer.h"

namespace coss {

void export_onnx(const Checkpoint& checkpoint, const std::string& out,
                 const std::map<std::string, std::string>& metadata) {
  const auto loaded = load_network(checkpoint, Classifier::optional, Device::cpu, DType::f32);
  Tensor images({1, loaded->image_size, loaded->image_size, 3}, DType::f32, Device::cpu);
  kernels(images).fill(context(Device::cpu), 0, images);
  const Graph graph;
  const Var features = (*loaded)->features(Var(images), Mode::eval);
  std::vector<OnnxOutput> outputs{{"features", features.value}};
  if (checkpoint.facts().classes > 0 && checkpoint.facts().trained)
    outputs.push_back({"logits", (*loaded)->logits(features, Mode::eval).value});
  write_onnx(out, graph, images, outputs, metadata);
}

}  // namespace coss
