// MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381) with torchvision's names and numerics: inverted residual blocks
// of depthwise convolutions with ReLU6, and no activation at their ends.
#pragma once
#include <memory>

#include "models/network.h"

namespace coss {

struct MobilenetV2Options {
  int64_t classes = 1000;
};

std::unique_ptr<Network> make_mobilenet_v2(const Scope& scope, const MobilenetV2Options& options);

}  // namespace coss
