// ShuffleNetV1 (Zhang et al. 2018, arXiv 1707.01083) with three groups and its full width: the paper's for ImageNet,
// and that of the distillation literature for CIFAR (RepDistiller's ShuffleV1). Both have RepDistiller's parameter
// names.
#pragma once
#include <memory>

#include "models/network.h"

namespace coss {

struct ShufflenetV1Options {
  // RepDistiller's: a 1x1 stem without pooling; blocks narrow to a quarter of the channels that they compute, not of
  // the stage's; ReLU behind depthwise convolutions.
  bool cifar = false;
  int64_t classes = 1000;
};

std::unique_ptr<Network> make_shufflenet_v1(const Scope& scope, const ShufflenetV1Options& options);

}  // namespace coss
