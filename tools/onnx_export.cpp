// One image runs through the frozen network; its values do not matter.
#include "tools/onnx_export.h"

#include "engine/kernels.h"
#include "evaluation/loaded_network.h"
#include "formats/onnx_writer.h"

namespace coss {

void export_onnx(const std::string& in, const FoundNetwork& found, const std::string& from, const std::string& out,
                 const std::map<std::string, std::string>& metadata) {
  bool classifies = false;
  for (size_t i = 0; i < found.wanted.size(); ++i) classifies |= found.wanted[i].optional && found.match.tensors[i];
  const auto mark = metadata.find("classifier");
  if (mark != metadata.end() && mark->second == "untrained") classifies = false;

  const auto loaded = load_network(found.model->name, in, Classifier::optional, Device::cpu, DType::f32, from);
  Tensor images({1, loaded->image_size, loaded->image_size, 3}, DType::f32, Device::cpu);
  kernels(images).fill(context(Device::cpu), 0, images);
  const Graph graph;
  const Var features = (*loaded)->features(Var(images), Mode::eval);
  std::vector<OnnxOutput> outputs{{"features", features.value}};
  if (classifies) outputs.push_back({"logits", (*loaded)->logits(features, Mode::eval).value});
  write_onnx(out, graph, images, outputs, metadata);
}

}  // namespace coss
