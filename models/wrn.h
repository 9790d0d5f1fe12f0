// The wide ResNets of Zagoruyko and Komodakis 2016 (arXiv 1605.07146) for CIFAR: WRN-d-w has d = 6n + 4 layers, w times
// as wide as a CIFAR ResNet, each block normalized before it convolves. Names and numerics are RepDistiller's.
#pragma once
#include <memory>

#include "models/network.h"

namespace coss {

struct WrnOptions {
  int64_t depth = 16, widen = 2;  // d and w; d - 4 is a multiple of 6
  int64_t classes = 100;
};

std::unique_ptr<Network> make_wrn(const Scope& scope, const WrnOptions& options);

}  // namespace coss
