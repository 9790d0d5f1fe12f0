// The image towers of CLIP (Radford et al. 2021, arXiv 2103.00020), as OpenAI published them, with the names that its
// files have below `visual.`. Its ResNets have average pooling in place of strides, and attention as the last pooling;
// its vision transformers have QuickGELU. The features are the embedding that CLIP compares with texts.
#pragma once
#include <array>
#include <memory>

#include "models/network.h"

namespace coss {

struct ClipResnetOptions {
  std::array<int64_t, 4> blocks{3, 4, 6, 3};
  int64_t width = 64, embedding = 1024, heads = 32;
  int64_t image_size = 224;
  int64_t classes = 0;  // of `fc`; OpenAI's towers have no classifier
};

struct ClipVitOptions {
  int64_t width = 768, heads = 12, depth = 12, patch = 32;
  int64_t embedding = 512;
  int64_t image_size = 224;
  int64_t classes = 0;
};

std::unique_ptr<Network> make_clip_resnet(const Scope& scope, const ClipResnetOptions& options);
std::unique_ptr<Network> make_clip_vit(const Scope& scope, const ClipVitOptions& options);

}  // namespace coss
