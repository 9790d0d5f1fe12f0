// Vision transformers (Dosovitskiy et al. 2021, arXiv 2010.11929) as timm has them: names, numerics (epsilon 1e-6,
// exact GELU), and the class token after the last norm as features. DINO's are the same; MoCo v3's small one (arXiv
// 2104.02057) has twice as many heads and starts from sine and cosine positions.
#pragma once
#include <memory>

#include "models/network.h"

namespace coss {

struct VitOptions {
  int64_t width = 192, heads = 3, patch = 16;
  int64_t depth = 12, image_size = 224;
  int64_t classes = 1000;
  bool mean_pooling = false;    // features: mean of the patches' tokens, then a norm
  bool sine_positions = false;  // as initial values
  float drop_path = 0;          // rate of the last block; it grows linearly from 0
};

std::unique_ptr<Network> make_vit(const Scope& scope, const VitOptions& options);

}  // namespace coss
