// Writing what Detectron2 reads as a ResNet's weights: a pickle of NumPy arrays under its own names.
#pragma once
#include "formats/safetensors.h"

namespace coss {

// The name that Detectron2 has for a parameter of torchvision's ResNets, "res2.0.conv1.norm.weight" for
// "layer1.0.bn1.weight"; "" for what its backbones lack, the classifier and counters of batches among it.
std::string detectron_name(const std::string& name);

// {"model": {name: array}, "__author__": …, "matching_heuristics": True} of the tensors that have such a name; numbers
// of any width become fp32. Error when a tensor is no part of a ResNet's backbone or classifier. Written aside,
// synchronized and renamed.
void write_detectron(const std::string& path, const std::vector<NamedTensor>& tensors);

}  // namespace coss
