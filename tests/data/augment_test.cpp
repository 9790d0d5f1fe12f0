// Augmentation recipes: the statistics of their draws, the geometry of evaluation, and that the draws depend on the key
// only.
#include "data/augment.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <set>

namespace coss::test {
namespace {

struct Draw {
  Region region;
  ImageParams params;
};

Draw draw(const Augmentation& recipe, int32_t size, uint64_t index, int32_t h, int32_t w, uint64_t seed = 1,
          uint64_t epoch = 0, uint32_t view = 0) {
  Draw d;
  d.region = draw_augmentation(recipe, size, seed, epoch, index, view, h, w, d.params);
  return d;
}

TEST(Augment, TheTableHasTheKnownRecipes) {
  std::set<std::string> names;
  for (const Augmentation& recipe : augmentations()) names.insert(recipe.name);
  EXPECT_EQ(names,
            (std::set<std::string>{"moco_v1", "moco_v2", "swav", "simclr", "simclr_imagenet", "simclr_cifar", "patch",
                                   "byol_a", "byol_b", "weak", "imagenet", "cifar", "clip_cifar", "eval"}));
  EXPECT_FLOAT_EQ(find_augmentation("swav").min_scale, 0.14f);
  try {
    find_augmentation("moco_v3");
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("moco_v2"), std::string::npos);
  }
}

TEST(Augment, MocoV2DrawsWithItsProbabilitiesAndRanges) {
  const Augmentation& recipe = find_augmentation("moco_v2");
  constexpr int kDraws = 20000;
  double flips = 0, jitters = 0, grays = 0, blurs = 0, area = 0, brightness = 0, hue = 0, sigma = 0;
  int orders[4][4] = {};
  for (uint64_t i = 0; i < kDraws; ++i) {
    const Draw d = draw(recipe, 224, i, 400, 500);
    const Region& r = d.region;
    ASSERT_TRUE(r.y >= 0 && r.x >= 0 && r.h > 0 && r.w > 0 && r.y + r.h <= 400 && r.x + r.w <= 500);
    const double share = double(r.h) * r.w / (400.0 * 500.0), ratio = double(r.w) / r.h;
    ASSERT_TRUE(share > 0.195 && share <= 1.0 && ratio > 0.74 && ratio < 1.35);
    const ImageParams& p = d.params;
    ASSERT_TRUE(p.source_h == r.h && p.source_w == r.w && p.resize_h == 224 && p.resize_w == 224 && p.window_y == 0);
    area += share;
    flips += p.flip;
    grays += p.gray == 1;
    ASSERT_NE(p.gray, 2);
    if (p.jitter) {
      ++jitters;
      ASSERT_TRUE(p.brightness >= 0.6f && p.brightness < 1.4f && p.contrast >= 0.6f && p.contrast < 1.4f);
      ASSERT_TRUE(p.saturation >= 0.6f && p.saturation < 1.4f && std::abs(p.hue) <= 0.1f);
      brightness += double(p.brightness);
      hue += double(p.hue);
      for (int place = 0; place < 4; ++place) ++orders[place][p.order[place]];
    }
    if (p.blur_sigma > 0) {
      ++blurs;
      ASSERT_TRUE(p.blur_sigma >= 0.1f && p.blur_sigma < 2.0f && p.blur_window == 23);
      sigma += double(p.blur_sigma);
    }
  }
  EXPECT_NEAR(flips / kDraws, 0.5, 0.015);
  EXPECT_NEAR(jitters / kDraws, 0.8, 0.015);
  EXPECT_NEAR(grays / kDraws, 0.2, 0.015);
  EXPECT_NEAR(blurs / kDraws, 0.5, 0.015);
  EXPECT_NEAR(area / kDraws, 0.518, 0.008);  // torchvision's mean; under 0.6, for large crops often do not fit
  EXPECT_NEAR(brightness / jitters, 1.0, 0.01);
  EXPECT_NEAR(hue / jitters, 0.0, 0.003);
  EXPECT_NEAR(sigma / blurs, 1.05, 0.02);
  for (const auto& row : orders) {
    for (const int count : row) EXPECT_NEAR(count / jitters, 0.25, 0.02);
  }
}

TEST(Augment, MocoV1AndSimclrMakeGrayFirstAndAlwaysJitter) {
  for (const char* name : {"moco_v1", "simclr"}) {
    int grays = 0;
    for (uint64_t i = 0; i < 2000; ++i) {
      const ImageParams p = draw(find_augmentation(name), 224, i, 300, 300).params;
      ASSERT_EQ(p.jitter, 1);
      ASSERT_NE(p.gray, 1);
      ASSERT_EQ(p.blur_sigma, 0);
      ASSERT_LE(std::abs(p.hue), 0.4f);
      grays += p.gray == 2;
    }
    EXPECT_NEAR(grays / 2000.0, 0.2, 0.05);
  }
}

TEST(Augment, WeakOnlyCropsAndFlips) {
  for (uint64_t i = 0; i < 500; ++i) {
    const ImageParams p = draw(find_augmentation("weak"), 224, i, 300, 300).params;
    ASSERT_TRUE(!p.jitter && !p.gray && p.blur_sigma == 0);
  }
}

TEST(Augment, ThinPicturesFallBackToTheCentralCrop) {
  for (const bool wide : {false, true}) {
    const Draw d = draw(find_augmentation("weak"), 224, 3, wide ? 10 : 4000, wide ? 4000 : 10);
    EXPECT_EQ(std::min(d.region.h, d.region.w), 10);
    EXPECT_EQ(std::max(d.region.h, d.region.w), 13);  // 10 * 4 / 3, or 10 / (3 / 4)
    EXPECT_EQ(wide ? d.region.x : d.region.y, (4000 - 13) / 2);
  }
  const Draw one = draw(find_augmentation("moco_v2"), 224, 3, 1, 1);
  EXPECT_TRUE(one.region.h == 1 && one.region.w == 1);
}

TEST(Augment, CifarShiftsByUpToFourPixels) {
  std::set<int32_t> ys, xs;
  int flips = 0;
  for (uint64_t i = 0; i < 4000; ++i) {
    const Draw d = draw(find_augmentation("cifar"), 32, i, 32, 32);
    ASSERT_TRUE(d.region.h == 32 && d.region.w == 32 && d.params.resize_h == 32 && d.params.resize_w == 32);
    ys.insert(d.params.window_y);
    xs.insert(d.params.window_x);
    flips += d.params.flip;
  }
  EXPECT_EQ(ys.size(), 9u);
  EXPECT_EQ(*ys.begin(), -4);
  EXPECT_EQ(*ys.rbegin(), 4);
  EXPECT_EQ(xs, ys);
  EXPECT_NEAR(flips / 4000.0, 0.5, 0.04);
}

TEST(Augment, EvaluationHasTorchvisionsGeometry) {
  const Augmentation& eval = find_augmentation("eval");
  struct Case {
    int32_t size, h, w, resize_h, resize_w, y, x;
  };
  // Resize(256) then CenterCrop(224); the values are torchvision's. 341: int(256 * 500 / 375); 58: round(58.5).
  for (const Case& c :
       {Case{224, 375, 500, 256, 341, 16, 58}, Case{224, 500, 375, 341, 256, 58, 16},
        Case{224, 224, 224, 256, 256, 16, 16}, Case{224, 100, 301, 256, 770, 16, 273}, Case{32, 32, 32, 32, 32, 0, 0},
        Case{32, 96, 97, 32, 32, 0, 0}, Case{96, 300, 300, 110, 110, 7, 7}}) {
    const Draw d = draw(eval, c.size, 0, c.h, c.w);
    EXPECT_EQ(d.params.resize_h, c.resize_h);
    EXPECT_EQ(d.params.resize_w, c.resize_w);
    EXPECT_EQ(d.params.window_y, c.y) << c.h << " x " << c.w;
    EXPECT_EQ(d.params.window_x, c.x) << c.h << " x " << c.w;
    EXPECT_TRUE(!d.params.flip && !d.params.jitter && d.region.h == c.h && d.region.w == c.w);
  }
  Augmentation keep = eval;
  keep.resize = 0;
  const ImageParams p = draw(keep, 224, 0, 225, 101).params;
  EXPECT_TRUE(p.resize_h == 225 && p.resize_w == 101 && p.window_y == 0 && p.window_x == -61);
}

TEST(Augment, ByolsViewsDifferInBlurAndSolarize) {
  for (const bool second : {false, true}) {
    int blurs = 0, inverted = 0;
    for (uint64_t i = 0; i < 4000; ++i) {
      const ImageParams p = draw(find_augmentation(second ? "byol_b" : "byol_a"), 224, i, 300, 300).params;
      ASSERT_TRUE(p.bicubic && p.saturation >= 0.8f && p.saturation < 1.2f);
      blurs += p.blur_sigma > 0;
      inverted += p.solarize;
    }
    EXPECT_NEAR(blurs / 4000.0, second ? 0.1 : 1.0, 0.02);
    EXPECT_NEAR(inverted / 4000.0, second ? 0.2 : 0.0, 0.02);
  }
}

TEST(Augment, PatchesAreSmall) {
  for (uint64_t i = 0; i < 1000; ++i) {
    const Draw d = draw(find_augmentation("patch"), 96, i, 400, 500);
    const double share = double(d.region.h) * d.region.w / (400.0 * 500.0);
    ASSERT_TRUE(share > 0.048 && share < 0.143) << share;
    ASSERT_EQ(d.params.resize_h, 96);
  }
}

// As torchvision: RandomCrop(32, padding=4), Resize(224, bicubic), RandomHorizontalFlip.
TEST(Augment, ClipCifarCropsAndThenEnlarges) {
  std::set<int32_t> ys, xs;
  int flips = 0;
  for (uint64_t i = 0; i < 2000; ++i) {
    const Draw d = draw(find_augmentation("clip_cifar"), 224, i, 32, 32);
    ASSERT_TRUE(d.region.h == 32 && d.region.w == 32 && d.params.source_h == 32 && d.params.source_w == 32);
    ASSERT_TRUE(d.params.resize_h == 224 && d.params.resize_w == 224 && d.params.window_y == 0 && d.params.bicubic);
    ys.insert(d.region.y);
    xs.insert(d.region.x);
    flips += d.params.flip;
  }
  EXPECT_EQ(ys, (std::set<int32_t>{-4, -3, -2, -1, 0, 1, 2, 3, 4}));
  EXPECT_EQ(xs, ys);
  EXPECT_NEAR(flips / 2000.0, 0.5, 0.04);
  const Draw wide = draw(find_augmentation("clip_cifar"), 224, 1, 96, 120);  // 12 pixels of padding
  EXPECT_TRUE(wide.region.h == 96 && wide.region.w == 96 && wide.region.y >= -12 && wide.region.x <= 120 - 96 + 12);
}

TEST(Augment, OnlyTheKeyDecides) {
  const Augmentation& recipe = find_augmentation("moco_v2");
  auto same = [](const Draw& a, const Draw& b) { return std::memcmp(&a.params.source_h, &b.params.source_h, 32) == 0; };
  const Draw first = draw(recipe, 224, 7, 333, 444, 5, 2, 1);
  draw(recipe, 224, 8, 100, 100);
  EXPECT_TRUE(same(first, draw(recipe, 224, 7, 333, 444, 5, 2, 1)));
  EXPECT_FALSE(same(first, draw(recipe, 224, 8, 333, 444, 5, 2, 1)));
  EXPECT_FALSE(same(first, draw(recipe, 224, 7, 333, 444, 6, 2, 1)));
  EXPECT_FALSE(same(first, draw(recipe, 224, 7, 333, 444, 5, 3, 1)));
  EXPECT_FALSE(same(first, draw(recipe, 224, 7, 333, 444, 5, 2, 0)));
}

}  // namespace
}  // namespace coss::test
