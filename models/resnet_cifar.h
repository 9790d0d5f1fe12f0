// The CIFAR ResNets of He et al. 2015, section 4.2: 6n + 2 layers in three stages. Two kinds are published. One has
// shortcuts without parameters (option A) and the names of akamaster/pytorch_resnet_cifar10. The other is that of the
// distillation literature: a 1x1 convolution wherever the shape changes (option B), and RepDistiller's names.
#pragma once
#include <array>
#include <memory>

#include "models/network.h"

namespace coss {

struct ResnetCifarOptions {
  int64_t blocks = 3;  // per stage: n
  int64_t classes = 10;
  bool projections = false;                       // option B and RepDistiller's names
  std::array<int64_t, 4> widths{16, 16, 32, 64};  // channels of the stem and the three stages
};

std::unique_ptr<Network> make_resnet_cifar(const Scope& scope, const ResnetCifarOptions& options);

}  // namespace coss
