// Augmentation against the reference, operation by operation, in gray levels. The reference rounds nothing; a backend
// that rounds to 8 bits after each operation, as Pillow does, is off by half a level per operation and more where an
// operation amplifies.
#include <cstring>

#include "engine/philox.h"
#include "tests/engine/kernel_test.h"

namespace coss::test {

namespace {

constexpr int32_t kHeight = 37, kWidth = 53;
// Output values are gray levels.
constexpr Normalization kLevels = {.mean = {0, 0, 0}, .stddev = {1 / 255.0f, 1 / 255.0f, 1 / 255.0f}};

// Gradients, edges and noise in color.
std::vector<double> picture(uint64_t seed) {
  RandomStream random(seed, RandomUse::other);
  std::vector<double> pixels;
  for (int y = 0; y < kHeight; ++y) {
    for (int x = 0; x < kWidth; ++x) {
      for (int c = 0; c < 3; ++c) {
        const double ramp = 60 + 2 * (c == 0 ? x : c == 1 ? y : 60 - x), edge = (x / 9 + y / 7 + c) % 2 ? 60 : 0;
        pixels.push_back(std::clamp(std::round(ramp + edge + double(random.uniform(-20, 20))), 0.0, 255.0));
      }
    }
  }
  return pixels;
}

ImageParams identity() {
  ImageParams p;
  p.source_h = p.resize_h = kHeight;
  p.source_w = p.resize_w = kWidth;
  return p;
}

std::vector<double> bytes_of(const ImageParams& p) {
  const auto* raw = reinterpret_cast<const uint8_t*>(&p);
  return {raw, raw + sizeof(p)};
}

struct Difference {
  double greatest = 0, mean = 0;
};

}  // namespace

class Augment : public KernelTest {
 protected:
  Difference difference(const std::vector<ImageParams>& images, int64_t h, int64_t w) {
    std::vector<double> pixels, bytes;
    for (size_t i = 0; i < images.size(); ++i) {
      const std::vector<double> one = picture(i + 1);
      ImageParams p = images[i];
      p.offset = int64_t(pixels.size());
      pixels.insert(pixels.end(), one.begin(), one.end());
      for (double byte : bytes_of(p)) bytes.push_back(byte);
    }
    const int64_t count = int64_t(images.size());
    Twin params = twin(bytes, {count, int64_t(sizeof(ImageParams))}, DType::u8);
    Twin source = twin(pixels, {int64_t(pixels.size())}, DType::u8), y = output({count, h, w, 3}, compute());
    both([&](const Kernels& k, Context& c, int side) {
      k.augment_images(c, kLevels, params[side], source[side], y[side]);
    });
    const std::vector<double> tested = y[0].to_doubles(), exact = y[1].to_doubles();
    Difference result;
    for (size_t i = 0; i < tested.size(); ++i) {
      const double off = std::abs(tested[i] - exact[i]);
      if (!(off <= result.greatest)) result.greatest = off;
      result.mean += off / double(tested.size());
    }
    return result;
  }

  // One level of slack is the rounding of a pixel to bf16 and of the last operation.
  void expect_within(double levels, const ImageParams& p, int64_t h = kHeight, int64_t w = kWidth) {
    const Difference off = difference({p}, h, w);
    EXPECT_LE(off.greatest, levels);
    EXPECT_LE(off.mean, levels / 2);
  }
};
INSTANTIATE_TEST_SUITE_P(Backends, Augment, testing::ValuesIn(backends()),
                         [](const auto& test) { return backend_name(test.param); });

TEST_P(Augment, IdentityIsExact) { expect_within(0.01, identity()); }

TEST_P(Augment, ResizeDownAndUpWithBothFilters) {
  for (uint8_t bicubic : {uint8_t(0), uint8_t(1)}) {
    for (auto [h, w] : {std::pair{16, 16}, std::pair{80, 99}, std::pair{37, 20}, std::pair{60, 53}, std::pair{1, 1}}) {
      SCOPED_TRACE(testing::Message() << h << "x" << w << " bicubic " << int(bicubic));
      ImageParams p = identity();
      p.resize_h = h;
      p.resize_w = w;
      p.bicubic = bicubic;
      expect_within(1.3, p, h, w);
    }
  }
}

TEST_P(Augment, WindowInsideAndOutsideOfTheResizedImage) {
  for (auto [y, x] : {std::pair{5, 9}, std::pair{-4, -3}, std::pair{20, 40}, std::pair{-4, 45}}) {
    ImageParams p = identity();
    p.window_y = y;
    p.window_x = x;
    expect_within(0.01, p, 24, 20);
    p.resize_h = 30;
    p.resize_w = 60;
    expect_within(1.3, p, 24, 20);
  }
}

TEST_P(Augment, Flip) {
  ImageParams p = identity();
  p.flip = 1;
  expect_within(0.01, p);
}

TEST_P(Augment, SingleJitterOperations) {
  for (float factor : {0.4f, 0.9f, 1.6f}) {
    for (int operation = 0; operation < 3; ++operation) {
      SCOPED_TRACE(testing::Message() << "operation " << operation << " factor " << factor);
      ImageParams p = identity();
      p.jitter = 1;
      (operation == 0 ? p.brightness : operation == 1 ? p.contrast : p.saturation) = factor;
      // Brightness and the others truncate in Pillow; hue by zero still goes through 8-bit HSV, which costs up to 4.
      expect_within(5, p);
    }
  }
}

TEST_P(Augment, Hue) {
  for (float hue : {-0.4f, -0.1f, 0.1f, 0.5f}) {
    ImageParams p = identity();
    p.jitter = 1;
    p.hue = hue;
    // 8-bit HSV: a step of the hue circle is 6 / 256 of a pixel's range, up to 6 levels; hue and shift both truncate.
    const Difference off = difference({p}, kHeight, kWidth);
    EXPECT_LE(off.greatest, 13);
    EXPECT_LE(off.mean, 2.5);
  }
}

TEST_P(Augment, OrderOfTheJitterCounts) {
  for (auto order :
       {std::array<uint8_t, 4>{0, 1, 2, 3}, std::array<uint8_t, 4>{3, 2, 1, 0}, std::array<uint8_t, 4>{2, 0, 3, 1}}) {
    ImageParams p = identity();
    p.jitter = 1;
    std::copy(order.begin(), order.end(), p.order);
    p.brightness = 1.35f;
    p.contrast = 0.7f;
    p.saturation = 1.3f;
    p.hue = 0.08f;
    // Rounding of 8-bit HSV, then amplified by the operations behind it.
    const Difference off = difference({p}, kHeight, kWidth);
    EXPECT_LE(off.greatest, 15);
    EXPECT_LE(off.mean, 3);
  }
}

TEST_P(Augment, GrayBeforeAndAfterJitter) {
  for (uint8_t gray : {uint8_t(1), uint8_t(2)}) {
    ImageParams p = identity();
    p.gray = gray;
    expect_within(1.1, p);
    p.jitter = 1;
    p.contrast = 1.3f;
    expect_within(5, p);
  }
}

TEST_P(Augment, Blur) {
  for (float sigma : {0.1f, 0.8f, 2.0f}) {
    ImageParams p = identity();
    p.blur_sigma = sigma;
    expect_within(1.3, p);
    p.blur_window = 5;
    expect_within(1.3, p);
  }
}

TEST_P(Augment, SolarizeAfterBlur) {
  ImageParams p = identity();
  p.solarize = 1;
  expect_within(0.01, p);
  p.flip = p.gray = 1;
  p.blur_sigma = 1.1f;
  expect_within(1.6, p);
}

TEST_P(Augment, BlurOfAnImageSmallerThanTheWindow) {
  ImageParams p = identity();
  p.blur_sigma = 2;
  p.resize_h = 7;
  p.resize_w = 9;
  expect_within(2, p, 7, 9);
}

TEST_P(Augment, BatchOfDifferentImages) {
  std::vector<ImageParams> images;
  for (int i = 0; i < 7; ++i) {
    ImageParams p = identity();
    p.resize_h = 20 + 4 * i;
    p.resize_w = 30 + 3 * i;
    p.window_y = i - 3;
    p.window_x = i;
    p.flip = i % 2;
    p.gray = uint8_t(i % 3);
    p.blur_sigma = i % 2 ? 0.7f : 0;
    images.push_back(p);
  }
  EXPECT_LE(difference(images, 18, 22).greatest, 2.5);
}

TEST_P(Augment, NormalisesPerChannel) {
  const Normalization imagenet;
  Twin params = twin(bytes_of(identity()), {1, int64_t(sizeof(ImageParams))}, DType::u8);
  Twin source = twin(picture(1), {kHeight * kWidth * 3}, DType::u8), y = output({1, kHeight, kWidth, 3}, compute());
  both([&](const Kernels& k, Context& c, int side) {
    k.augment_images(c, imagenet, params[side], source[side], y[side]);
  });
  expect_close(y);
}

// Parameters and sources drawn at random, of every size from one pixel on.
struct RandomBatch {
  RandomBatch(uint64_t seed, int count, int64_t height, int64_t width) : h(height), w(width) {
    RandomStream random(seed, RandomUse::other);
    auto below = [&](int n) { return int32_t(random.below(uint32_t(n))); };
    for (int i = 0; i < count; ++i) {
      ImageParams p;
      p.source_h = 1 + below(60);
      p.source_w = 1 + below(60);
      p.resize_h = below(4) ? 1 + below(int(h) + 20) : p.source_h;
      p.resize_w = below(4) ? 1 + below(int(w) + 20) : p.source_w;
      p.window_y = below(3) ? 0 : below(2 * int(h)) - int(h);
      p.window_x = below(3) ? 0 : below(2 * int(w)) - int(w);
      p.bicubic = uint8_t(below(2));
      p.flip = uint8_t(below(2));
      p.gray = uint8_t(below(4) % 3);
      p.jitter = uint8_t(below(4) > 0);
      for (int k = 3; k > 0; --k) std::swap(p.order[k], p.order[below(k + 1)]);
      p.brightness = below(5) ? random.uniform(0, 2) : 1;
      p.contrast = below(5) ? random.uniform(0, 2) : 1;
      p.saturation = below(5) ? random.uniform(0, 2) : 1;
      p.hue = below(5) ? random.uniform(-0.5f, 0.5f) : 0;
      p.solarize = uint8_t(below(4) == 0);
      add(p, random);
    }
  }
  // Adds an image with new pixels: gray levels around a ramp, so that neighbors differ and there are edges.
  void add(ImageParams p, RandomStream& random) {
    p.offset = int64_t(pixels.size());
    for (int64_t i = 0; i < int64_t(p.source_h) * p.source_w * 3; ++i)
      pixels.push_back(uint8_t(uint32_t(i / 7) + random.below(90)));
    params.push_back(p);
  }
  // `offset` elements into a larger tensor.
  Tensor run(Device device, DType dtype, int64_t offset = 0) const {
    const auto* raw = reinterpret_cast<const uint8_t*>(params.data());
    const std::vector<uint8_t> bytes(raw, raw + params.size() * sizeof(ImageParams));
    const Tensor p = Tensor::from(bytes, {int64_t(bytes.size())}, device);
    const Tensor source = Tensor::from(pixels, {int64_t(pixels.size())}, device);
    const Shape shape = {int64_t(params.size()), h, w, 3};
    Tensor whole({shape.numel() + offset}, dtype, device), y = whole.view(offset, shape);
    kernels(device).augment_images(context(device), kLevels, p, source, y);
    return y;
  }
  int64_t h, w;
  std::vector<ImageParams> params;
  std::vector<uint8_t> pixels;
};

TEST_P(Augment, PixelsAreThoseOfTheCpu) {
  if (backend_.device == Device::cpu) GTEST_SKIP() << "this is the CPU";
  for (auto [h, w] : {std::pair{16, 16}, std::pair{33, 40}, std::pair{7, 5}, std::pair{1, 1}, std::pair{3, 70}}) {
    for (uint64_t seed : {1, 2, 3}) {
      SCOPED_TRACE(testing::Message() << h << "x" << w << " seed " << seed);
      const RandomBatch batch(seed, 9, h, w);
      const auto expected = batch.run(Device::cpu, compute()).to_doubles();
      EXPECT_EQ(batch.run(backend_.device, compute()).to_doubles(), expected);
      EXPECT_EQ(batch.run(backend_.device, compute(), 1).to_doubles(), expected);  // y not aligned
    }
  }
}

TEST_P(Augment, ExtremeSizesAsOnTheCpu) {
  if (backend_.device == Device::cpu) GTEST_SKIP() << "this is the CPU";
  struct Case {
    int32_t source_h, source_w, resize_h, resize_w;
    int64_t h, w;
  };
  for (const Case& c : {Case{700, 3, 4, 3, 4, 3}, Case{2, 900, 2, 5, 2, 4}, Case{400, 90, 40, 9, 40, 12},
                        Case{1, 1, 50, 60, 50, 60}, Case{150, 20, 150, 40, 150, 6}, Case{5, 6, 5, 700, 5, 700}}) {
    for (uint8_t bicubic : {uint8_t(0), uint8_t(1)}) {
      SCOPED_TRACE(testing::Message() << c.source_h << "x" << c.source_w << " to " << c.resize_h << "x" << c.resize_w
                                      << " bicubic " << int(bicubic));
      RandomBatch batch(1, 0, c.h, c.w);
      RandomStream random(5, RandomUse::other);
      ImageParams p;
      p.source_h = c.source_h;
      p.source_w = c.source_w;
      p.resize_h = c.resize_h;
      p.resize_w = c.resize_w;
      p.bicubic = bicubic;
      batch.add(p, random);
      EXPECT_EQ(batch.run(backend_.device, compute()).to_doubles(), batch.run(Device::cpu, compute()).to_doubles());
    }
  }
}

// A processor may fuse float sums with their products or not, so sometimes a level is rounded the other way.
TEST_P(Augment, BlurAsOnTheCpu) {
  if (backend_.device == Device::cpu) GTEST_SKIP() << "this is the CPU";
  for (auto [window, sigma] : {std::pair{23, 0.3f}, std::pair{23, 2.0f}, std::pair{3, 1.0f}, std::pair{1, 1.0f},
                               std::pair{75, 30.0f}, std::pair{31, 4.0f}}) {
    for (auto [h, w] : {std::pair{20, 28}, std::pair{1, 9}, std::pair{9, 1}, std::pair{35, 11}}) {
      SCOPED_TRACE(testing::Message() << h << "x" << w << " window " << window << " sigma " << sigma);
      RandomBatch batch(uint64_t(window), 3, h, w);
      for (ImageParams& p : batch.params) {
        p.blur_window = window;
        p.blur_sigma = sigma;
      }
      const auto expected = batch.run(Device::cpu, compute()).to_doubles();
      const auto got = batch.run(backend_.device, compute()).to_doubles();
      int64_t others = 0;
      for (size_t i = 0; i < got.size(); ++i) {
        ASSERT_NEAR(got[i], expected[i], 1.01) << i;
        others += got[i] != expected[i];
      }
      EXPECT_LE(others, 1);
    }
  }
}

}  // namespace coss::test
