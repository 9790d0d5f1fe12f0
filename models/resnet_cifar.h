// The CIFAR ResNets of He et al. 2015, section 4.2: 6n + 2 layers of 16, 32 and 64 channels, with parameter-free
// shortcuts (option A). Names are those of the public akamaster/pytorch_resnet_cifar10 weights.
#pragma once
#include <memory>

#include "models/network.h"

namespace coss {

struct ResnetCifarOptions {
  int64_t blocks = 3;  // per stage: n
  int64_t classes = 10;
};

std::unique_ptr<Network> make_resnet_cifar(const Scope& scope, const ResnetCifarOptions& options);

}  // namespace coss
