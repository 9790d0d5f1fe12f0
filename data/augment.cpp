// The table of recipes and the draws of torchvision's transforms, one Philox stream per image and view.
#include "data/augment.h"

#include <algorithm>
#include <cmath>

#include "engine/check.h"
#include "engine/philox.h"

namespace coss {

const std::vector<Augmentation>& augmentations() {
  static const std::vector<Augmentation> table = {
      {.name = "moco_v1",
       .min_scale = 0.2f,
       .flip = 0.5f,
       .jitter = 1,
       .brightness = 0.4f,
       .contrast = 0.4f,
       .saturation = 0.4f,
       .hue = 0.4f,
       .gray = 0.2f,
       .gray_first = true},
      {.name = "moco_v2",
       .min_scale = 0.2f,
       .flip = 0.5f,
       .jitter = 0.8f,
       .brightness = 0.4f,
       .contrast = 0.4f,
       .saturation = 0.4f,
       .hue = 0.1f,
       .gray = 0.2f,
       .blur = 0.5f},
      {.name = "swav",
       .min_scale = 0.14f,
       .flip = 0.5f,
       .jitter = 0.8f,
       .brightness = 0.4f,
       .contrast = 0.4f,
       .saturation = 0.4f,
       .hue = 0.1f,
       .gray = 0.2f,
       .blur = 0.5f},
      {.name = "simclr",
       .min_scale = 0.2f,
       .flip = 0.5f,
       .jitter = 1,
       .brightness = 0.4f,
       .contrast = 0.4f,
       .saturation = 0.4f,
       .hue = 0.4f,
       .gray = 0.2f,
       .gray_first = true},
      {.name = "simclr_imagenet",
       .min_scale = 0.08f,
       .flip = 0.5f,
       .jitter = 0.8f,
       .brightness = 0.8f,
       .contrast = 0.8f,
       .saturation = 0.8f,
       .hue = 0.2f,
       .gray = 0.2f,
       .blur = 0.5f},
      {.name = "simclr_cifar",
       .min_scale = 0.08f,
       .flip = 0.5f,
       .jitter = 0.8f,
       .brightness = 0.4f,
       .contrast = 0.4f,
       .saturation = 0.4f,
       .hue = 0.1f,
       .gray = 0.2f},
      {.name = "patch",
       .min_scale = 0.05f,
       .max_scale = 0.14f,
       .flip = 0.5f,
       .jitter = 0.8f,
       .brightness = 0.4f,
       .contrast = 0.4f,
       .saturation = 0.4f,
       .hue = 0.1f,
       .gray = 0.2f,
       .blur = 0.5f},
      {.name = "byol_a",
       .min_scale = 0.08f,
       .flip = 0.5f,
       .jitter = 0.8f,
       .brightness = 0.4f,
       .contrast = 0.4f,
       .saturation = 0.2f,
       .hue = 0.1f,
       .gray = 0.2f,
       .blur = 1,
       .bicubic = true},
      {.name = "byol_b",
       .min_scale = 0.08f,
       .flip = 0.5f,
       .jitter = 0.8f,
       .brightness = 0.4f,
       .contrast = 0.4f,
       .saturation = 0.2f,
       .hue = 0.1f,
       .gray = 0.2f,
       .blur = 0.1f,
       .solarize = 0.2f,
       .bicubic = true},
      {.name = "weak", .min_scale = 0.2f, .flip = 0.5f},
      {.name = "imagenet", .min_scale = 0.08f, .flip = 0.5f},
      {.name = "cifar", .pad = 4, .flip = 0.5f},
      {.name = "clip_cifar", .pad = 4, .crop_first = true, .flip = 0.5f, .bicubic = true},
      {.name = "eval", .resize = 256},
  };
  return table;
}

const Augmentation& find_augmentation(const std::string& name) {
  std::string known;
  for (const Augmentation& recipe : augmentations()) {
    if (recipe.name == name) return recipe;
    known += (known.empty() ? "" : ", ") + recipe.name;
  }
  throw Error("there is no augmentation '" + name + "': choose one of " + known);
}

namespace {

// torchvision's RandomResizedCrop.
Region random_crop(const Augmentation& recipe, int32_t height, int32_t width, RandomStream& random) {
  const double area = double(height) * double(width);
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double target = area * double(random.uniform(recipe.min_scale, recipe.max_scale));
    const double ratio = std::exp(double(random.uniform(std::log(recipe.min_ratio), std::log(recipe.max_ratio))));
    const auto w = int32_t(std::lrint(std::sqrt(target * ratio))), h = int32_t(std::lrint(std::sqrt(target / ratio)));
    if (w <= 0 || w > width || h <= 0 || h > height) continue;
    const auto y = int32_t(random.below(uint32_t(height - h + 1))), x = int32_t(random.below(uint32_t(width - w + 1)));
    return {y, x, h, w};
  }
  int32_t h = height, w = width;
  if (double(width) / double(height) < double(recipe.min_ratio)) {
    h = std::clamp(int32_t(std::lrint(double(width) / double(recipe.min_ratio))), 1, height);
  } else if (double(width) / double(height) > double(recipe.max_ratio)) {
    w = std::clamp(int32_t(std::lrint(double(height) * double(recipe.max_ratio))), 1, width);
  }
  return {(height - h) / 2, (width - w) / 2, h, w};
}

// Resizes the whole image to the short side `side` and rounds the long side down, as torchvision's Resize does. 0 keeps
// the size.
void resize_short_side(int32_t side, int32_t height, int32_t width, ImageParams& params) {
  const int64_t shorter = std::min(height, width), longer = std::max(height, width);
  params.resize_h = height;
  params.resize_w = width;
  if (side == 0) return;
  const auto other = int32_t(int64_t(side) * longer / shorter);
  params.resize_h = height <= width ? side : other;
  params.resize_w = height <= width ? other : side;
}

// First row or column of torchvision's CenterCrop, which rounds halves to even and pads what is too small.
int32_t center(int32_t resized, int32_t size) {
  return resized >= size ? int32_t(std::lrint((resized - size) / 2.0)) : -((size - resized) / 2);
}

int32_t short_side_for(const Augmentation& recipe, int32_t size) {
  if (recipe.resize == 0) return 0;
  return size < 64 ? size : int32_t(std::lround(double(size) * recipe.resize / 224));
}

void draw_jitter(const Augmentation& recipe, RandomStream& random, ImageParams& params) {
  params.jitter = 1;
  for (uint32_t i = 3; i > 0; --i) std::swap(params.order[i], params.order[random.below(i + 1)]);
  auto factor = [&](float reach) { return random.uniform(std::max(0.0f, 1 - reach), 1 + reach); };
  params.brightness = factor(recipe.brightness);
  params.contrast = factor(recipe.contrast);
  params.saturation = factor(recipe.saturation);
  params.hue = random.uniform(-recipe.hue, recipe.hue);
}

}  // namespace

Region draw_augmentation(const Augmentation& recipe, int32_t size, uint64_t seed, uint64_t epoch, uint64_t index,
                         uint32_t view, int32_t height, int32_t width, ImageParams& params) {
  RandomStream random(seed, RandomUse::augment, epoch, index, view);
  params = ImageParams();
  Region region{0, 0, height, width};
  if (recipe.min_scale > 0) {
    region = random_crop(recipe, height, width, random);
    params.resize_h = params.resize_w = size;
  } else if (recipe.crop_first) {
    const int32_t side = std::min(height, width);
    const auto pad = int32_t(std::lround(double(recipe.pad) * side / 32));
    const auto y = int32_t(random.below(uint32_t(height - side + 2 * pad + 1))) - pad;
    const auto x = int32_t(random.below(uint32_t(width - side + 2 * pad + 1))) - pad;
    region = {y, x, side, side};
    params.resize_h = params.resize_w = size;
  } else if (recipe.pad > 0) {
    resize_short_side(size, height, width, params);
    params.window_y = int32_t(random.below(uint32_t(params.resize_h - size + 2 * recipe.pad + 1))) - recipe.pad;
    params.window_x = int32_t(random.below(uint32_t(params.resize_w - size + 2 * recipe.pad + 1))) - recipe.pad;
  } else {
    resize_short_side(short_side_for(recipe, size), height, width, params);
    params.window_y = center(params.resize_h, size);
    params.window_x = center(params.resize_w, size);
  }
  params.source_h = region.h;
  params.source_w = region.w;
  params.bicubic = recipe.bicubic;
  params.flip = random.bernoulli(recipe.flip);
  if (random.bernoulli(recipe.jitter)) draw_jitter(recipe, random, params);
  if (random.bernoulli(recipe.gray)) params.gray = recipe.gray_first ? 2 : 1;
  if (random.bernoulli(recipe.blur)) {
    params.blur_sigma = random.uniform(recipe.min_sigma, recipe.max_sigma);
    params.blur_window = std::min(params.blur_window, 2 * size - 1);  // reflection needs the border inside the image
  }
  params.solarize = random.bernoulli(recipe.solarize);
  return region;
}

}  // namespace coss
