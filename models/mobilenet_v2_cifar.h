// MobileNetV2 at half its width as the distillation literature has it for CIFAR (mobile_half of RepDistiller): ReLU
// instead of ReLU6, and an image that is halved four times.
#pragma once
#include <memory>

#include "models/network.h"

namespace coss {

std::unique_ptr<Network> make_mobilenet_v2_cifar(const Scope& scope, int64_t classes);

}  // namespace coss
