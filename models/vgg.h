// VGG (Simonyan and Zisserman 2014, arXiv 1409.1556) for CIFAR as the distillation literature has it: with batch norm,
// and one linear layer behind the mean over the image. Names and numerics are RepDistiller's.
#pragma once
#include <memory>

#include "models/network.h"

namespace coss {

struct VggOptions {
  int64_t convolutions = 1;  // per block: VGG-8 has 1, VGG-13 has 2
  int64_t classes = 100;
};

std::unique_ptr<Network> make_vgg_cifar(const Scope& scope, const VggOptions& options);

}  // namespace coss
