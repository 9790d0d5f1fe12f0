// Augmentation recipes. A recipe draws, on the host, the parameters with which the image kernel makes one view of one
// image.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "engine/kernel_params.h"

namespace coss {

struct Augmentation {
  std::string name;
  // Random resized crop (torchvision's RandomResizedCrop: 10 tries, then a central crop); 0: none.
  float min_scale = 0, max_scale = 1, min_ratio = 3.f / 4, max_ratio = 4.f / 3;
  int32_t pad = 0;  // crop of the padded image instead (CIFAR: 4); other sizes are first resized to the short side
  // The padded crop is as wide as the image's short side and is then resized. `pad` is meant for 32 pixels and is
  // scaled for other sizes.
  bool crop_first = false;
  float flip = 0;    // probability
  float jitter = 0;  // probability
  float brightness = 0, contrast = 0, saturation = 0, hue = 0;
  float gray = 0;  // probability
  bool gray_first = false;
  float blur = 0;  // probability
  float min_sigma = 0.1f, max_sigma = 2.0f;
  float solarize = 0;  // probability
  // Without crop and pad: the short side that the image is resized to before a central crop, for an output of 224
  // pixels. It is scaled for other outputs; outputs under 64 pixels (CIFAR) use their own size. 0 keeps the size.
  int32_t resize = 0;
  bool bicubic = false;
};

// moco_v1, moco_v2, swav, simclr and patch (small crops) are those of the CoSS and SEED programs; byol_a and byol_b are
// BYOL's two views; simclr_imagenet and simclr_cifar are those of SimCLR's paper (ICML 2020), with colors of full and
// of half strength; weak, imagenet and cifar crop and flip; clip_cifar is what EGA's program shows to CLIP: cifar's
// crop, enlarged. eval is for testing. Throws Error with the known names.
const Augmentation& find_augmentation(const std::string& name);
const std::vector<Augmentation>& augmentations();

// Draws the parameters of view `view` of image `index` in `epoch`, for an output of size x size, and returns the region
// of the source that they refer to. Pixels of the region outside of the image (crop_first) are black. The result
// depends on these arguments only, so order and number of workers change no pixel. params.offset is left 0.
Region draw_augmentation(const Augmentation& recipe, int32_t size, uint64_t seed, uint64_t epoch, uint64_t index,
                         uint32_t view, int32_t height, int32_t width, ImageParams& params);

}  // namespace coss
