// Renormalized: images with one normalization go through a network that wants another.
#include "models/renormalized.h"

#include <gtest/gtest.h>

#include "tests/support/support.h"

namespace coss {
namespace {

// Its features are the mean of each channel.
struct MeanNetwork : Network {
  MeanNetwork() { feature_width = 3; }
  Var features(const Var& images, Mode, const Tensor&, std::vector<Var>*) override {
    Tensor y({images.shape()[0], 3}, images.value.dtype(), images.value.device());
    kernels(y).mean_hw_forward(context(y.device()), images.value, y);
    return Var(y);
  }
  Var logits(const Var& features, Mode, const Tensor&) override { return features; }
};

TEST(Renormalized, MapsTheMeanOfOneToTheOther) {
  const Normalization given{{0.5f, 0.4f, 0.3f}, {0.2f, 0.25f, 0.5f}}, wanted{{0.1f, 0.2f, 0.3f}, {1, 0.5f, 0.125f}};
  for (const DType dtype : {DType::f32, DType::bf16}) {
    Renormalized network(std::make_unique<MeanNetwork>(), given, wanted);
    EXPECT_EQ(network.feature_width, 3);
    // All pixels are (0.6, 0.6, 0.6), normalized by `given`.
    std::vector<float> pixels;
    for (int i = 0; i < 2 * 5 * 5; ++i)
      for (size_t c = 0; c < 3; ++c) pixels.push_back((0.6f - given.mean[c]) / given.stddev[c]);
    const Tensor single = Tensor::from(pixels, {2, 5, 5, 3}, Device::cpu);
    Tensor images(single.shape(), dtype, Device::cpu);
    kernels(images).cast(context(Device::cpu), single, images);
    const std::vector<double> means = network.features(Var(images), Mode::eval).value.to_doubles();
    for (size_t i = 0; i < means.size(); ++i)
      EXPECT_NEAR(means[i], (0.6 - double(wanted.mean[i % 3])) / double(wanted.stddev[i % 3]),
                  dtype == DType::f32 ? 1e-6 : 0.02)
          << i;
  }
}

}  // namespace
}  // namespace coss
