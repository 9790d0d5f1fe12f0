// ShuffleNetV2 (Ma et al. 2018, arXiv 1807.11164): for ImageNet as torchvision has it, and for CIFAR as the
// distillation literature does (ShuffleV2 of RepDistiller), each with its own parameter names.
#pragma once
#include <memory>

#include "models/network.h"

namespace coss {

struct ShufflenetV2Options {
  int64_t width = 116;  // of the first stage; each later one has twice as much
  int64_t last = 1024;  // of the last convolution
  bool cifar = false;   // a 1x1 stem without pooling
  int64_t classes = 1000;
};

std::unique_ptr<Network> make_shufflenet_v2(const Scope& scope, const ShufflenetV2Options& options);

}  // namespace coss
