// ShuffleNetV1 (Zhang et al. 2018, arXiv 1707.01083) with three groups, at its full width: for ImageNet as the paper
// has it, and for CIFAR as the distillation literature does (ShuffleV1 of RepDistiller, whose parameter names both
// have).
#pragma once
#include <memory>

#include "models/network.h"

namespace coss {

struct ShufflenetV1Options {
  // A 1x1 stem without pooling; first bottleneck a quarter of what the block computes, not of its stage; ReLU behind
  // depthwise convolutions.
  bool cifar = false;
  int64_t classes = 1000;
};

std::unique_ptr<Network> make_shufflenet_v1(const Scope& scope, const ShufflenetV1Options& options);

}  // namespace coss
