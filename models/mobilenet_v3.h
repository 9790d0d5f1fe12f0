// MobileNetV3 small and large (Howard et al. 2019, arXiv 1905.02244) with torchvision's parameter names, as three
// libraries compute them. The classifier has a hidden layer; features are what comes before it.
#pragma once
#include <memory>

#include "models/network.h"

namespace coss {

// torchvision has TensorFlow's norm parameters, timm PyTorch's; d-li14's mobilenetv3.pytorch has PyTorch's and puts
// squeeze-and-excitation before the activation in blocks that expand.
enum class MobilenetV3Kind : uint8_t { torchvision, timm, gate_first };

struct MobilenetV3Options {
  bool large = false;
  MobilenetV3Kind kind = MobilenetV3Kind::torchvision;
  int64_t classes = 1000;
};

std::unique_ptr<Network> make_mobilenet_v3(const Scope& scope, const MobilenetV3Options& options);

}  // namespace coss
