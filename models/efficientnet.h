// EfficientNet-B0 … B7 (Tan and Le 2019, arXiv 1905.11946) and EfficientNetV2-S, M and L (2021, arXiv 2104.00298) with
// torchvision's parameter names. The numerics are torchvision's and timm's, or TensorFlow's, which ports of
// TensorFlow's weights have as well (timm's tf_efficientnet, efficientnet-pytorch).
#pragma once
#include <memory>

#include "models/network.h"

namespace coss {

constexpr int kEfficientnetV2S = 8, kEfficientnetV2M = 9, kEfficientnetV2L = 10;

struct EfficientnetOptions {
  int size = 0;  // 0 … 7 for B0 … B7, or one of V2's
  Numerics numerics = {};
  int64_t classes = 1000;
  float drop_path = 0.2f;  // rate of the last block, the first one's is 0
};

std::unique_ptr<Network> make_efficientnet(const Scope& scope, const EfficientnetOptions& options);

}  // namespace coss
