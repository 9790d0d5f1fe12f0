// The own kernels pass NaN on, as in PyTorch, and it is counted on the host.
#include <cmath>
#include <limits>

#include "engine/finite.h"
#include "tests/engine/kernel_test.h"

namespace coss::test {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

TEST(Faults, A3NotFiniteIsCountedAtEveryPlace) {
  std::vector<float> values(10000, 1.0f);
  values[17] = std::numeric_limits<float>::max();
  values[18] = std::numeric_limits<float>::denorm_min();
  EXPECT_EQ(not_finite(values.data(), 10000).count, 0);
  EXPECT_EQ(not_finite(values.data(), 10000).first, -1);
  EXPECT_EQ(not_finite(nullptr, 0).count, 0);
  for (const int64_t place : {0, 4095, 4096, 9999}) {
    std::vector<float> spoiled = values;
    spoiled[size_t(place)] = -std::numeric_limits<float>::infinity();
    spoiled[9999] = float(kNan);
    EXPECT_EQ(not_finite(spoiled.data(), 10000).count, place == 9999 ? 1 : 2) << place;
    EXPECT_EQ(not_finite(spoiled.data(), 10000).first, place);
  }
}

// Forward, NaN stays NaN. Backward, piecewise linear activations pass the gradient at NaN; only hardsigmoid blocks it.
TEST(Faults, A3ActivationsKeepNan) {
  constexpr int64_t kCount = 35;  // two vectors and a rest
  for (const Device device : devices_under_test()) {
    const Kernels& k = kernels(device);
    for (const DType dtype : {DType::f32, DType::bf16}) {
      for (const Activation kind :
           {Activation::none, Activation::relu, Activation::relu6, Activation::silu, Activation::hardswish,
            Activation::sigmoid, Activation::hardsigmoid, Activation::gelu, Activation::quick_gelu}) {
        SCOPED_TRACE(testing::Message() << name_of(device) << " " << name_of(dtype) << " activation " << int(kind));
        std::vector<double> values = random_tensor({kCount}, DType::f64, Device::reference, 1, 4).to_doubles();
        for (const size_t i : {3u, 20u, 34u}) values[i] = kNan;
        const Tensor x = make_tensor(values, {kCount}, dtype, device);
        const Tensor dy = make_tensor(std::vector<double>(kCount, 1), {kCount}, dtype, device);
        Tensor y({kCount}, dtype, device), dx({kCount}, dtype, device);
        k.activation_forward(context(device), kind, x, y);
        k.activation_backward(context(device), kind, x, dy, dx);
        const std::vector<double> out = y.to_doubles(), gradient = dx.to_doubles();
        for (size_t i = 0; i < out.size(); ++i) EXPECT_EQ(std::isnan(out[i]), std::isnan(values[i])) << i;
        const bool pieces = clips(kind) || kind == Activation::hardswish;
        for (const size_t i : {3u, 20u, 34u}) {
          if (pieces || kind == Activation::hardsigmoid)
            EXPECT_EQ(gradient[i], pieces ? 1 : 0) << i;
          else
            EXPECT_TRUE(std::isnan(gradient[i])) << i;
        }
      }
    }
  }
}

// One NaN makes its channel NaN: the outputs and both running statistics. The mask passes the gradient.
TEST(Faults, A3NormKeepsNan) {
  constexpr int64_t kRows = 10, kChannels = 19, kBad = 5;
  for (const Device device : devices_under_test()) {
    for (const Activation kind : {Activation::relu, Activation::relu6}) {
      SCOPED_TRACE(testing::Message() << name_of(device) << " activation " << int(kind));
      std::vector<double> values = random_tensor({kRows * kChannels}, DType::f64, Device::reference, 1).to_doubles();
      values[3 * kChannels + kBad] = kNan;
      const Tensor x = make_tensor(values, {kRows, kChannels}, DType::f32, device);
      const auto channels = [&](double value) {
        return make_tensor(std::vector<double>(kChannels, value), {kChannels}, DType::f32, device);
      };
      const Tensor gamma = channels(1), beta = channels(0), residual;
      Tensor running_mean = channels(0), running_var = channels(1), mean = channels(0), rstd = channels(0);
      Tensor y({kRows, kChannels}, DType::f32, device), mask({(kRows * kChannels + 7) / 8}, DType::u8, device);
      kernels(device).norm_act_forward(context(device), {.activation = kind}, x, gamma, beta, residual, running_mean,
                                       running_var, y, mean, rstd, mask);
      const std::vector<double> out = y.to_doubles(), means = running_mean.to_doubles(),
                                variances = running_var.to_doubles();
      const std::vector<uint8_t> bits = mask.to_vector<uint8_t>();
      for (size_t i = 0; i < out.size(); ++i) {
        const bool bad = i % kChannels == kBad;
        EXPECT_EQ(std::isnan(out[i]), bad) << i;
        EXPECT_TRUE(!bad || (bits[i / 8] >> i % 8 & 1)) << i;
      }
      for (size_t c = 0; c < kChannels; ++c) {
        EXPECT_EQ(std::isnan(means[c]), c == kBad) << c;
        EXPECT_EQ(std::isnan(variances[c]), c == kBad) << c;
      }
    }
  }
}

}  // namespace
}  // namespace coss::test
