// The image kernel of the CPU against Pillow and torchvision (goldens), and what the goldens do not cover: flips,
// dtypes, several images per batch, independence of the number of threads.
#include "engine/math/image.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "engine/philox.h"
#include "tests/data/image_cases.h"
#include "tests/support/support.h"

namespace coss::test {
namespace {

TEST(Image, AgreesWithPillowAndTorchvision) {
  const TensorFile file = open_tensor_file(golden_path("images.safetensors"));
  const auto names = golden_names(file, "expected");
  ASSERT_GT(names.size(), 20u);
  for (const std::string& name : names) {
    const Pixels expected = golden_pixels(file, name + ".expected");
    const int source = golden_values<int32_t>(file, name + ".ints").at(16);
    const Pixels got = augmented(golden_params(file, name), golden_bytes(file, "source" + std::to_string(source)),
                                 expected.h, expected.w);
    const Difference d = difference(got.bytes, expected.bytes);
    const bool resize_only = name.starts_with("resize") || name.starts_with("window");
    EXPECT_LE(d.largest, resize_only ? 0 : name.starts_with("moco") ? 2 : 1) << name;
    EXPECT_LE(d.share, 0.005) << name;
  }
}

std::vector<uint8_t> random_pixels(int64_t count, uint64_t seed) {
  RandomStream random(seed, RandomUse::other);
  std::vector<uint8_t> pixels(static_cast<size_t>(count));
  for (uint8_t& pixel : pixels) pixel = uint8_t(random.bits());
  return pixels;
}

// Six images with every operation, of different sizes and offsets.
struct MixedBatch {
  MixedBatch() {
    int64_t bytes = 0;
    for (int i = 0; i < 6; ++i) {
      ImageParams p;
      p.offset = bytes;
      p.source_h = 20 + 13 * i;
      p.source_w = 70 - 9 * i;
      p.resize_h = p.resize_w = 24;
      p.jitter = uint8_t(i % 2);
      p.brightness = 1.2f;
      p.hue = 0.1f;
      p.gray = uint8_t(i % 3);
      p.blur_sigma = i > 3 ? 1.1f : 0;
      p.flip = uint8_t(i % 2);
      params.push_back(p);
      bytes += int64_t(p.source_h) * p.source_w * 3;
    }
    pixels = random_pixels(bytes, 5);
  }
  Tensor run(DType dtype, const Normalization& normalization) const {
    std::vector<uint8_t> words(params.size() * sizeof(ImageParams));
    std::memcpy(words.data(), params.data(), words.size());
    const Tensor p = Tensor::from(words, {int64_t(words.size())}, Device::cpu);
    const Tensor source = Tensor::from(pixels, {int64_t(pixels.size())}, Device::cpu);
    Tensor y({int64_t(params.size()), 24, 24, 3}, dtype, Device::cpu);
    kernels(Device::cpu).augment_images(context(Device::cpu), normalization, p, source, y);
    return y;
  }
  std::vector<ImageParams> params;
  std::vector<uint8_t> pixels;
};

TEST(Image, NormalisesWithMeanAndDeviationOfEachChannel) {
  ImageParams p;
  p.source_h = p.source_w = p.resize_h = p.resize_w = 1;
  p.window_y = -1;
  std::vector<uint8_t> words(sizeof(p));
  std::memcpy(words.data(), &p, sizeof(p));
  const Tensor params = Tensor::from(words, {int64_t(words.size())}, Device::cpu);
  const Tensor pixels = Tensor::from<uint8_t>({255, 51, 0}, {3}, Device::cpu);
  Tensor y({1, 2, 1, 3}, DType::f32, Device::cpu);
  kernels(Device::cpu)
      .augment_images(context(Device::cpu), {{0.5f, 0.25f, 0.125f}, {0.5f, 0.5f, 0.25f}}, params, pixels, y);
  const std::vector<float> expected = {-1, -0.5f, -0.5f, 1, -0.1f, -0.5f};  // black outside, then the pixel
  const std::vector<float> got = y.to_vector<float>();
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(got[i], expected[i], 1e-6f) << i;
}

TEST(Image, SixteenBitOutputIsTheRoundedFloat) {
  const MixedBatch batch;
  const std::vector<float> wide = batch.run(DType::f32, {}).to_vector<float>();
  const std::vector<bf16> narrow = batch.run(DType::bf16, {}).to_vector<bf16>();
  for (size_t i = 0; i < wide.size(); ++i) ASSERT_EQ(narrow[i].bits, bf16(wide[i]).bits) << i;
}

TEST(Image, ThreadsChangeNothing) {
  const MixedBatch batch;
  const int before = threads();
  set_threads(1);
  const std::vector<float> one = batch.run(DType::f32, {}).to_vector<float>();
  set_threads(3);
  const std::vector<float> three = batch.run(DType::f32, {}).to_vector<float>();
  set_threads(before);
  EXPECT_EQ(one, three);
}

TEST(Image, FlipMirrorsEveryRow) {
  ImageParams p;
  p.source_h = p.resize_h = 3;
  p.source_w = p.resize_w = 5;
  const std::vector<uint8_t> source = random_pixels(45, 9);
  const Pixels plain = augmented(p, source, 3, 5);
  p.flip = 1;
  const Pixels mirrored = augmented(p, source, 3, 5);
  EXPECT_EQ(plain.bytes, source);
  for (size_t y = 0; y < 3; ++y) {
    for (size_t x = 0; x < 5; ++x) {
      for (size_t c = 0; c < 3; ++c) {
        EXPECT_EQ(mirrored.bytes[(y * 5 + x) * 3 + c], source[(y * 5 + 4 - x) * 3 + c]);
      }
    }
  }
}

TEST(Image, ConstantPicturesStayConstantThroughResizeAndBlur) {
  for (const int size : {1, 7, 100}) {
    ImageParams p;
    p.source_h = size;
    p.source_w = 2 * size;
    p.resize_h = p.resize_w = 16;
    p.bicubic = uint8_t(size % 2);
    p.blur_sigma = 2;
    p.blur_window = 23;
    const Pixels got = augmented(p, std::vector<uint8_t>(size_t(size) * size_t(size) * 6, 201), 16, 16);
    for (const uint8_t value : got.bytes) ASSERT_EQ(value, 201);
  }
}

// Pillow's rgb2hsv and hsv2rgb with their float and double steps.
uint32_t pillow_hsv(int r, int g, int b) {
  const int v = std::max({r, g, b}), least = std::min({r, g, b});
  if (v == least) return uint32_t(v) << 16;
  const float range = float(v - least), s = range / float(v);
  const float rc = float(v - r) / range, gc = float(v - g) / range, bc = float(v - b) / range;
  const float h = r == v   ? float(double(bc) - double(gc))
                  : g == v ? float(2.0 + double(rc) - double(bc))
                           : float(4.0 + double(gc) - double(rc));
  const float turn = float(std::fmod(double(h) / 6.0 + 1.0, 1.0));
  return uint32_t(double(turn) * 255.0) | uint32_t(double(s) * 255.0) << 8 | uint32_t(v) << 16;
}

uint32_t pillow_rgb(int h, int s, int v) {
  if (s == 0) return uint32_t(v) * 0x10101;
  const double turn = double(h) * 6.0 / 255.0;
  const float fraction = float(turn - std::floor(turn)), fs = float(double(s) / 255.0);
  auto rounded = [&](double x) { return uint32_t(std::round(double(v) * x)); };
  const uint32_t full = uint32_t(v), p = rounded(1.0 - double(fs)), q = rounded(1.0 - double(fs * fraction));
  const uint32_t t = rounded(1.0 - double(fs) * (1.0 - double(fraction)));
  const uint32_t colors[6][3] = {{full, t, p}, {q, full, p}, {p, full, t}, {p, q, full}, {t, p, full}, {full, p, q}};
  const auto& c = colors[int(std::floor(turn)) % 6];
  return c[0] | c[1] << 8 | c[2] << 16;
}

TEST(Image, HueSaturationAndValueAreThoseOfPillowForEveryColor) {
  int wrong = 0;
  for (uint32_t word = 0; word < 1u << 24; ++word) {
    const image::Hsv hsv = image::hsv_of(word);
    wrong += image::word_of(uint32_t(hsv.h), uint32_t(hsv.s), uint32_t(hsv.v)) !=
             pillow_hsv(int(word & 255), int(word >> 8 & 255), int(word >> 16));
    const int h = int(word & 255), s = int(word >> 8 & 255), v = int(word >> 16);
    wrong += image::rgb_of({h, s, v}) != pillow_rgb(h, s, v);
  }
  EXPECT_EQ(wrong, 0);
}

TEST(Image, RefusesParametersThatPointOutsideThePixels) {
  ImageParams p;
  p.source_h = p.source_w = p.resize_h = p.resize_w = 4;
  EXPECT_THROW(augmented(p, std::vector<uint8_t>(47), 4, 4), std::logic_error);
}

}  // namespace
}  // namespace coss::test
