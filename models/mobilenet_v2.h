// MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381) as torchvision has it: inverted residual blocks of depthwise
// convolutions with ReLU6, linear at their ends.
#pragma once
#include <memory>

#include "models/network.h"

namespace coss {

std::unique_ptr<Network> make_mobilenet_v2(const Scope& scope, int64_t classes);

}  // namespace coss
