// MobileNetV3 small and large (Howard et al. 2019, arXiv 1905.02244) with torchvision's parameter names. torchvision
// has the norm parameters of TensorFlow; timm and d-li14's mobilenetv3.pytorch have PyTorch's; d-li14's blocks that
// expand have squeeze-and-excitation before the activation. The classifier has a hidden layer; the features are its
// input.
#pragma once
#include <memory>

#include "models/network.h"

namespace coss {

struct MobilenetV3Options {
  bool large = false;
  Numerics numerics = {};
  int64_t classes = 1000;
};

std::unique_ptr<Network> make_mobilenet_v3(const Scope& scope, const MobilenetV3Options& options);

}  // namespace coss
