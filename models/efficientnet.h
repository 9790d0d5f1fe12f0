// EfficientNet-B0 … B7 (Tan and Le 2019, arXiv 1905.11946) with torchvision's parameter names: as torchvision and timm
// compute them, and as TensorFlow does and whoever ported its weights (timm's tf_efficientnet, efficientnet-pytorch);
// and EfficientNetV2-S, M and L (2021, arXiv 2104.00298) as torchvision has them.
#pragma once
#include <memory>

#include "models/network.h"

namespace coss {

constexpr int kEfficientnetV2S = 8, kEfficientnetV2M = 9, kEfficientnetV2L = 10;

struct EfficientnetOptions {
  int size = 0;             // 0 … 7, or one of V2's
  bool tensorflow = false;  // SAME padding and TensorFlow's norm parameters
  int64_t classes = 1000;
  float drop_path = 0.2f;  // rate of the last block, the first one's is 0
};

// The image size and feature width of each size.
int64_t efficientnet_image_size(const EfficientnetOptions& options);
int64_t efficientnet_width(int size);

std::unique_ptr<Network> make_efficientnet(const Scope& scope, const EfficientnetOptions& options);

}  // namespace coss
