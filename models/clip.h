// The image towers of CLIP (Radford et al. 2021, arXiv 2103.00020), as OpenAI published them, with its names below
// `visual.`: ResNets whose strides are average pooling and whose last pooling is attention, and vision transformers
// with QuickGELU. The features are the embedding that is compared with texts.
#pragma once
#include <array>
#include <memory>

#include "models/network.h"

namespace coss {

struct ClipResnetOptions {
  std::array<int64_t, 4> blocks{3, 4, 6, 3};
  int64_t width = 64, embedding = 1024, heads = 32;
  int64_t image_size = 224;
  int64_t classes = 0;  // OpenAI's has no classifier; `fc` here
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
