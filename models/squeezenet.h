// SqueezeNet 1.1 (Iandola et al. 2016, arXiv 1602.07360) as torchvision has it: convolutions with bias and no norms.
#pragma once
#include <memory>

#include "models/network.h"

namespace coss {

struct SqueezenetOptions {
  int64_t classes = 0;
};

std::unique_ptr<Network> make_squeezenet(const Scope& scope, const SqueezenetOptions& options);

}  // namespace coss
