// Vision transformers (Dosovitskiy et al. 2021, arXiv 2010.11929) with timm's names and numerics: epsilon 1e-6, exact
// GELU. The features are the class token behind the last norm. DINO's are the same; MoCo v3's small one (arXiv
// 2104.02057) has twice as many heads, and its positions start as sines and cosines.
#pragma once
#include <memory>

#include "models/network.h"

namespace coss {

struct VitOptions {
  int64_t width = 192, heads = 3, patch = 16;
  int64_t depth = 12, image_size = 224;
  int64_t classes = 1000;
  bool mean_pooling = false;    // the features are the mean of the patches' tokens behind a norm
  bool sine_positions = false;  // initial positions are sines and cosines, else random
  float drop_path = 0;          // rate of the last block; it grows linearly from 0
};

std::unique_ptr<Network> make_vit(const Scope& scope, const VitOptions& options);

}  // namespace coss
