// ShuffleNetV2 (Ma et al. 2018, arXiv 1807.11164): torchvision's for ImageNet, and that of the distillation literature
// for CIFAR (RepDistiller's ShuffleV2), each with its own parameter names.
#pragma once
#include <memory>

#include "models/network.h"

namespace coss {

struct ShufflenetV2Options {
  int64_t width = 116;  // channels of the first stage; each later stage has twice as many
  int64_t last = 1024;  // channels of the last convolution
  bool cifar = false;   // RepDistiller's: its names, and a 1x1 stem without pooling
  int64_t classes = 1000;
};

std::unique_ptr<Network> make_shufflenet_v2(const Scope& scope, const ShufflenetV2Options& options);

}  // namespace coss
