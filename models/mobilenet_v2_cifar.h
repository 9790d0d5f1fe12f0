// MobileNetV2 with half its width, for CIFAR, as the distillation literature has it (RepDistiller's mobile_half): ReLU
// in place of ReLU6, and the image is halved four times.
#pragma once
#include <memory>

#include "models/network.h"

namespace coss {

struct MobilenetV2CifarOptions {
  int64_t classes = 100;
};

std::unique_ptr<Network> make_mobilenet_v2_cifar(const Scope& scope, const MobilenetV2CifarOptions& options);

}  // namespace coss
