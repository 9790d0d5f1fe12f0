// The CIFAR ResNets of He et al. 2015, section 4.2: 6n + 2 layers in three stages. Two kinds are about: with
// parameter-free shortcuts (option A) and the names of the public akamaster/pytorch_resnet_cifar10 weights; with 1x1
// convolutions where the shape changes (option B) and RepDistiller's names, as the distillation literature has them.
#pragma once
#include <array>
#include <memory>

#include "models/network.h"

namespace coss {

struct ResnetCifarOptions {
  int64_t blocks = 3;  // per stage: n
  int64_t classes = 10;
  bool projections = false;                       // option B
  std::array<int64_t, 4> widths{16, 16, 32, 64};  // of the stem and the stages
};

std::unique_ptr<Network> make_resnet_cifar(const Scope& scope, const ResnetCifarOptions& options);

}  // namespace coss
