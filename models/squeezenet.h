// SqueezeNet 1.1 (Iandola et al. 2016, arXiv 1602.07360) as torchvision has it: convolutions with bias and no norms.
#pragma once
#include <memory>

#include "models/network.h"

namespace coss {

std::unique_ptr<Network> make_squeezenet(const Scope& scope, int64_t classes);

}  // namespace coss
