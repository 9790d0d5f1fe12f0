// The ResNets of He et al. 2015 (arXiv 1512.03385) as torchvision has them: names, numerics, and the stride of a
// bottleneck in its 3x3 convolution.
#pragma once
#include <array>
#include <memory>

#include "models/network.h"

namespace coss {

struct ResnetOptions {
  std::array<int64_t, 4> blocks{2, 2, 2, 2};  // per stage
  bool bottleneck = false;
  int64_t classes = 1000;
};

std::unique_ptr<Network> make_resnet(const Scope& scope, const ResnetOptions& options);

}  // namespace coss
