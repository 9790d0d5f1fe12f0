// Elementwise and random kernels against the reference.
#include <algorithm>

#include "engine/philox.h"
#include "tests/engine/kernel_test.h"

namespace coss::test {

COSS_KERNEL_SUITE(Elementwise);

// Odd, so that every vector loop has a remainder, and long enough for several threads.
constexpr int64_t kCount = 40003;

TEST_P(Elementwise, FillWritesEveryType) {
  for (DType dtype : {DType::f32, DType::bf16, DType::f16, DType::f64, DType::i32, DType::i64, DType::u8}) {
    Twin y = output({kCount}, dtype == DType::i32 || dtype == DType::i64 ? DType::u8 : dtype);
    y[0] = Tensor({kCount}, dtype, backend_.device);
    kernels(backend_.device).fill(context(backend_.device), 3, y[0]);
    EXPECT_EQ(y[0].to_doubles(), std::vector<double>(size_t(kCount), 3.0)) << name_of(dtype);
  }
}

TEST_P(Elementwise, CastRoundsToNearestEven) {
  const DType floats[] = {DType::f32, DType::bf16, DType::f16, DType::f64};
  for (DType from : floats) {
    Twin x = normal({kCount}, from, 1, 100);
    for (DType to : floats) {
      Tensor y({kCount}, to, backend_.device);
      kernels(backend_.device).cast(context(backend_.device), x[0], y);
      EXPECT_EQ(y.to_doubles(), convert(x[0], to, Device::reference).to_doubles())
          << name_of(from) << " to " << name_of(to);
    }
  }
}

TEST_P(Elementwise, CastWidensIntegers) {
  std::vector<double> values;
  for (int i = 0; i < 255; ++i) values.push_back(i);
  for (DType from : {DType::u8, DType::i32, DType::i64}) {
    Twin x = twin(values, {255}, from);
    Tensor y({255}, compute(), backend_.device);
    kernels(backend_.device).cast(context(backend_.device), x[0], y);
    EXPECT_EQ(y.to_doubles(), values) << name_of(from);
  }
}

// Views of flat buffers need not lie at multiples of 16 bytes.
TEST_P(Elementwise, ViewsThatBeginAnywhere) {
  auto view = [](Twin whole, int64_t offset) {
    return Twin{{whole[0].view(offset, {kCount - 8}), whole[1].view(offset, {kCount - 8})}};
  };
  for (int64_t skew : {1, 2, 4}) {
    Twin a = view(normal({kCount}, compute(), 1), skew), b = view(normal({kCount}, compute(), 2), 8 - skew);
    Twin sum = view(output({kCount}, compute()), 2 * skew % 7), wide = view(normal({kCount}, accumulator(), 3), skew);
    Twin x = view(output({kCount}, compute()), skew), dx = view(output({kCount}, compute()), 0);
    Twin step = constant(5, {1}, DType::i64), dropped = view(output({kCount}, compute()), skew);
    both([&](const Kernels& k, Context& c, int side) {
      k.add(c, a[side], b[side], sum[side]);
      k.axpy(c, 0.7f, a[side], wide[side]);
      k.cast(c, wide[side], x[side]);
      k.activation_backward(c, Activation::relu, a[side], b[side], dx[side]);
      k.dropout_forward(c, {.rate = 0.4f, .seed = 3}, step[side], b[side], dropped[side]);
      k.fill(c, -1.5, a[side]);
      k.fill(c, 0, b[side]);
    });
    for (Twin* y : {&sum, &wide, &x, &dropped}) expect_close(*y);
    expect_equal(dx);
    expect_equal(a);
    expect_equal(b);
  }
}

TEST_P(Elementwise, FillLeavesTheNeighborsAlone) {
  for (DType dtype : {DType::f32, DType::bf16, DType::i64, DType::u8}) {
    Tensor whole({64}, dtype, backend_.device);
    const Kernels& k = kernels(backend_.device);
    k.fill(context(backend_.device), 1, whole);
    Tensor part = whole.view(3, {41});
    k.fill(context(backend_.device), 2, part);
    std::vector<double> expected(64, 1.0);
    std::fill_n(expected.begin() + 3, 41, 2.0);
    EXPECT_EQ(whole.to_doubles(), expected) << name_of(dtype);
  }
}

TEST_P(Elementwise, Add) {
  Twin a = normal({kCount}, compute(), 1), b = normal({kCount}, compute(), 2), y = output({kCount}, compute());
  both([&](const Kernels& k, Context& c, int side) { k.add(c, a[side], b[side], y[side]); });
  expect_close(y);
  both([&](const Kernels& k, Context& c, int side) { k.add(c, a[side], b[side], a[side]); });
  expect_close(a);
  both([&](const Kernels& k, Context& c, int side) { k.add(c, b[side], b[side], b[side]); });
  expect_close(b);
}

TEST_P(Elementwise, AxpyMixesComputeAndAccumulator) {
  for (DType from : {compute(), accumulator()}) {
    for (DType to : {compute(), accumulator()}) {
      Twin x = normal({kCount}, from, 1), y = normal({kCount}, to, 2);
      both([&](const Kernels& k, Context& c, int side) { k.axpy(c, -0.37f, x[side], y[side]); });
      expect_close(y);
    }
  }
}

TEST_P(Elementwise, ScaleReadsItsFactorFromTheDevice) {
  Twin s = constant(0.3, {1}, accumulator());
  for (DType dtype : {compute(), accumulator()}) {
    Twin y = normal({kCount}, dtype, 1);
    both([&](const Kernels& k, Context& c, int side) { k.scale(c, s[side], y[side]); });
    expect_close(y);
  }
}

TEST_P(Elementwise, Activations) {
  for (Activation kind : {Activation::none, Activation::relu, Activation::relu6}) {
    Twin x = normal({kCount}, compute(), 1, 4), y = output({kCount}, compute());
    Twin dy = normal({kCount}, compute(), 2), dx = output({kCount}, compute());
    both([&](const Kernels& k, Context& c, int side) {
      k.activation_forward(c, kind, x[side], y[side]);
      k.activation_backward(c, kind, y[side], dy[side], dx[side]);
      k.activation_forward(c, kind, x[side], x[side]);
    });
    expect_equal(y);
    expect_equal(dx);
    expect_equal(x);
  }
}

TEST_P(Elementwise, SmoothActivations) {
  for (Activation kind : {Activation::silu, Activation::hardswish, Activation::sigmoid, Activation::hardsigmoid,
                          Activation::gelu, Activation::quick_gelu}) {
    SCOPED_TRACE(testing::Message() << "activation " << int(kind));
    // Besides usual values: zero, the kinks, both tails, and values where a plain exponential would overflow.
    std::vector<double> values = random_tensor({kCount}, DType::f64, Device::reference, 1, 3).to_doubles();
    for (const double value : {0.0, -3.0, 3.0, 1e-6, -8.0, 8.0, -90.0, 90.0, -1e4, 1e4})
      values[values.size() / 2 + size_t(std::abs(value)) % 97 + (value < 0)] = value;
    Twin x = twin(values, {kCount}, compute()), y = output({kCount}, compute());
    Twin dy = normal({kCount}, compute(), 2), dx = output({kCount}, compute());
    both([&](const Kernels& k, Context& c, int side) {
      k.activation_forward(c, kind, x[side], y[side]);
      k.activation_backward(c, kind, x[side], dy[side], dx[side]);
      k.activation_backward(c, kind, x[side], dy[side], dy[side]);
      k.activation_forward(c, kind, x[side], x[side]);
    });
    expect_close(y);
    expect_close(dx);
    EXPECT_EQ(dy[0].to_doubles(), dx[0].to_doubles());
    EXPECT_EQ(x[0].to_doubles(), y[0].to_doubles());
  }
}

// The tails are compared by their own size, which the larger values would hide in a common norm.
TEST_P(Elementwise, SmoothActivationsKeepTheirTails) {
  if (compute() != DType::f32) GTEST_SKIP() << "16-bit results are compared above";
  for (Activation kind : {Activation::silu, Activation::sigmoid, Activation::gelu, Activation::quick_gelu}) {
    for (const double center : {-5.0, -2.0, 0.0, 0.01, 2.0}) {
      SCOPED_TRACE(testing::Message() << "activation " << int(kind) << " around " << center);
      std::vector<double> values;
      for (int i = 0; i < 1000; ++i) values.push_back(center + 0.001 * i * std::max(0.01, std::abs(center)));
      Twin x = twin(values, {1000}, compute()), y = output({1000}, compute());
      both([&](const Kernels& k, Context& c, int side) { k.activation_forward(c, kind, x[side], y[side]); });
      expect_close(y);
    }
  }
}

TEST_P(Elementwise, DropoutDrawsTheSameMaskTwiceAndOnEveryDevice) {
  const DropoutParams p{.rate = 0.3f, .seed = 11, .layer = 2};
  Twin step = constant(5, {1}, DType::i64), x = normal({kCount}, compute(), 1), y = output({kCount}, compute());
  Twin ones = constant(1, {kCount}, compute()), mask = output({kCount}, compute());
  both([&](const Kernels& k, Context& c, int side) {
    k.dropout_forward(c, p, step[side], x[side], y[side]);
    k.dropout_backward(c, p, step[side], ones[side], mask[side]);
  });
  expect_close(y);
  expect_close(mask);
  const std::vector<double> kept = mask[0].to_doubles(), values = y[0].to_doubles();
  double sum = 0;
  for (size_t i = 0; i < kept.size(); ++i) {
    EXPECT_EQ(kept[i] == 0, values[i] == 0);
    sum += kept[i];
  }
  // Standard deviation of the mean: sqrt(0.3 / 0.7 / 40003) = 0.0033; bf16 rounds 1 / 0.7 by 0.002.
  EXPECT_NEAR(sum / double(kCount), 1, 0.015);
}

// Drop path: the elements of an image share one draw, the same as in a dropout over the images.
TEST_P(Elementwise, DropoutOfGroups) {
  for (const int64_t group : {2, 7, 64, 1250}) {
    const int64_t groups = 40, count = groups * group - 1;  // the last one is short
    const DropoutParams one{.rate = 0.3f, .seed = 11, .layer = 2},
        p{.rate = 0.3f, .seed = 11, .layer = 2, .group = group};
    Twin step = constant(5, {1}, DType::i64), x = normal({count}, compute(), 1), y = output({count}, compute());
    Twin dx = output({count}, compute()), ones = constant(1, {groups}, compute()), mask = output({groups}, compute());
    both([&](const Kernels& k, Context& c, int side) {
      k.dropout_forward(c, p, step[side], x[side], y[side]);
      k.dropout_backward(c, p, step[side], x[side], dx[side]);
      k.dropout_forward(c, one, step[side], ones[side], mask[side]);
    });
    expect_close(y);
    EXPECT_EQ(y[0].to_doubles(), dx[0].to_doubles());
    const std::vector<double> values = y[0].to_doubles(), kept = mask[0].to_doubles();
    for (size_t i = 0; i < values.size(); ++i) EXPECT_EQ(values[i] == 0, kept[i / size_t(group)] == 0) << i;
  }
}

TEST_P(Elementwise, DropoutMasksDifferByStepLayerAndSeed) {
  auto mask_of = [&](DropoutParams p, int64_t now) {
    Twin step = constant(double(now), {1}, DType::i64), x = constant(1, {1000}, compute());
    Tensor y({1000}, compute(), backend_.device);
    kernels(backend_.device).dropout_forward(context(backend_.device), p, step[0], x[0], y);
    return y.to_doubles();
  };
  const DropoutParams p{.rate = 0.5f, .seed = 1, .layer = 1};
  const auto mask = mask_of(p, 1);
  EXPECT_EQ(mask, mask_of(p, 1));
  EXPECT_NE(mask, mask_of(p, 2));
  EXPECT_NE(mask, mask_of({.rate = 0.5f, .seed = 2, .layer = 1}, 1));
  EXPECT_NE(mask, mask_of({.rate = 0.5f, .seed = 1, .layer = 2}, 1));
  EXPECT_EQ(mask_of({.rate = 0, .seed = 1, .layer = 1}, 1), std::vector<double>(1000, 1.0));
}

// --- random ------------------------------------------------------------------------------------------------------

TEST(Philox, AgreesWithThePublishedVectors) {
  struct Vector {
    uint64_t key, lo, hi;
    uint32_t words[4];
  };
  const Vector vectors[] = {
      {0, 0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {~0ull, ~0ull, ~0ull, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {0x299f31d0a4093822ull,
       0x85a308d3243f6a88ull,
       0x0370734413198a2eull,
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (const Vector& v : vectors) {
    const PhiloxWords words = philox(v.key, v.lo, v.hi);
    for (int i = 0; i < 4; ++i) EXPECT_EQ(words.word[i], v.words[i]);
  }
}

TEST(Philox, StreamsDifferByEveryCoordinate) {
  auto first = [](uint64_t seed, RandomUse use, uint64_t epoch, uint64_t index, uint32_t view) {
    return RandomStream(seed, use, epoch, index, view).bits();
  };
  const std::vector<uint32_t> draws = {first(1, RandomUse::augment, 0, 0, 0), first(2, RandomUse::augment, 0, 0, 0),
                                       first(1, RandomUse::order, 0, 0, 0),   first(1, RandomUse::augment, 1, 0, 0),
                                       first(1, RandomUse::augment, 0, 1, 0), first(1, RandomUse::augment, 0, 0, 1)};
  for (size_t i = 0; i < draws.size(); ++i) {
    for (size_t j = 0; j < i; ++j) EXPECT_NE(draws[i], draws[j]);
  }
}

TEST(Philox, BelowIsUniform) {
  RandomStream random(3, RandomUse::draw);
  std::vector<int> counts(7);
  for (int i = 0; i < 70000; ++i) ++counts[random.below(7)];
  for (int count : counts) EXPECT_NEAR(count, 10000, 500);  // five standard deviations
}

struct Moments {
  double mean, variance, skewness, kurtosis;
};
Moments moments_of(const std::vector<double>& values) {
  double mean = 0, m2 = 0, m3 = 0, m4 = 0;
  const double n = double(values.size());
  for (double value : values) mean += value / n;
  for (double value : values) {
    const double d = value - mean;
    m2 += d * d / n;
    m3 += d * d * d / n;
    m4 += d * d * d * d / n;
  }
  return {mean, m2, m3 / std::pow(m2, 1.5), m4 / (m2 * m2)};
}

TEST(Random, MomentsAndAgreementWithTheReference) {
  constexpr int64_t kDraws = 200003;
  for (Device device : devices_under_test()) {
    Tensor uniform({kDraws}, DType::f32, device), normal({kDraws}, DType::f32, device);
    kernels(device).random_uniform(context(device), 7, 1, -1, 3, uniform);
    kernels(device).random_normal(context(device), 7, 2, 1, 2, normal);
    const std::vector<double> draws = uniform.to_doubles();
    EXPECT_GE(*std::min_element(draws.begin(), draws.end()), -1);
    EXPECT_LT(*std::max_element(draws.begin(), draws.end()), 3);
    const Moments u = moments_of(draws), n = moments_of(normal.to_doubles());
    EXPECT_NEAR(u.mean, 1, 0.013);  // all bounds are five standard deviations
    EXPECT_NEAR(u.variance, 16.0 / 12, 0.014);
    EXPECT_NEAR(n.mean, 1, 0.023);
    EXPECT_NEAR(n.variance, 4, 0.064);
    EXPECT_NEAR(n.skewness, 0, 0.028);
    EXPECT_NEAR(n.kurtosis, 3, 0.055);

    Tensor exact_uniform({kDraws}, DType::f64, Device::reference), exact_normal = exact_uniform;
    exact_normal = Tensor({kDraws}, DType::f64, Device::reference);
    Context& reference = context(Device::reference);
    kernels(Device::reference).random_uniform(reference, 7, 1, -1, 3, exact_uniform);
    kernels(Device::reference).random_normal(reference, 7, 2, 1, 2, exact_normal);
    EXPECT_LE(normalized_error(uniform, exact_uniform), bound(DType::f32));
    EXPECT_LE(normalized_error(normal, exact_normal), bound(DType::f32));
  }
}

TEST(Random, DevicesDrawTheSameBits) {
  constexpr int64_t kDraws = 40003;
  Tensor uniform({kDraws}, DType::f32, Device::cpu), normal({kDraws}, DType::f32, Device::cpu);
  kernels(Device::cpu).random_uniform(context(Device::cpu), 7, 1, -0.3f, 3.1f, uniform);
  kernels(Device::cpu).random_normal(context(Device::cpu), 7, 2, 0.1f, 2, normal);
  for (Device device : devices_under_test()) {
    Tensor y({kDraws + 1}, DType::f32, device);
    Tensor odd = y.view(1, {kDraws});
    kernels(device).random_uniform(context(device), 7, 1, -0.3f, 3.1f, odd);
    EXPECT_EQ(odd.to_doubles(), uniform.to_doubles());
    // Logarithm, sine and cosine differ in the last bits.
    kernels(device).random_normal(context(device), 7, 2, 0.1f, 2, odd);
    EXPECT_LE(normalized_error(odd, normal), 1e-13);
  }
}

TEST(Random, SeedAndStreamChooseTheValues) {
  for (Device device : devices_under_test()) {
    auto draw = [&](uint64_t seed, uint64_t stream) {
      Tensor y({1001}, DType::f32, device);
      kernels(device).random_normal(context(device), seed, stream, 0, 1, y);
      return y.to_doubles();
    };
    EXPECT_EQ(draw(1, 1), draw(1, 1));
    EXPECT_NE(draw(1, 1), draw(2, 1));
    EXPECT_NE(draw(1, 1), draw(1, 2));
  }
}

}  // namespace coss::test
