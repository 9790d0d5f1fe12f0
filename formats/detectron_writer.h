// Writes the weights of a ResNet for Detectron2: a pickle of NumPy arrays under Detectron2's names.
#pragma once
#include "formats/safetensors.h"

namespace coss {

// The name that Detectron2 has for a parameter of torchvision's ResNets, "res2.0.conv1.norm.weight" for
// "layer1.0.bn1.weight"; "" for what its backbones lack, such as the classifier and counters of batches.
std::string detectron_name(const std::string& name);

// {"model": {name: array}, "__author__": …, "matching_heuristics": True} of the tensors that have such a name,
// converted to fp32. Error when a tensor is no part of a ResNet's backbone or classifier. Writes through AtomicFile.
void write_detectron(const std::string& path, const std::vector<NamedTensor>& tensors);

}  // namespace coss
