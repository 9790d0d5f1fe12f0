// The ResNets of He et al. 2015 (arXiv 1512.03385) with torchvision's names and numerics; as there, a bottleneck has
// its stride in the 3x3 convolution. Other networks differ in numbers only: torchvision's ResNeXt (arXiv 1611.05431)
// and wide ResNets (1605.07146), the ResNets of SimCLR and SwAV with all widths multiplied, and those of solo-learn
// with a stem for CIFAR.
#pragma once
#include <array>
#include <memory>

#include "models/network.h"

namespace coss {

struct ResnetOptions {
  std::array<int64_t, 4> blocks{2, 2, 2, 2};  // per stage
  bool bottleneck = false;
  int64_t classes = 1000;
  int64_t widen = 1;         // multiplies every width
  int64_t groups = 1;        // groups of a bottleneck's 3x3 convolution
  int64_t group_width = 64;  // a bottleneck is groups * group_width wide in the first stage
  bool cifar_stem = false;   // a 3x3 convolution with padding 2 (32 pixels become 34) and no pooling
};

std::unique_ptr<Network> make_resnet(const Scope& scope, const ResnetOptions& options);

}  // namespace coss
