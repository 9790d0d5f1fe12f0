// One network of each family learns to classify 64 random images, in every compute dtype of the CPU. COSS_EVERY_MODEL
// trains all networks.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "autograd/ops.h"
#include "models/network.h"
#include "tests/support/support.h"
#include "training/optimizer.h"

namespace coss::test {
namespace {

constexpr int64_t kImages = 64, kClasses = 4;

// (images, size, size, 3)
Tensor noise(int64_t size, DType dtype) { return random_tensor({kImages, size, size, 3}, dtype, Device::cpu, 1); }

// Noise around a color of its own for each image. All images of plain noise have the same mean, so an untrained ViT
// gives them nearly the same features, and its loss would stay at that of chance for long.
Tensor colored_noise(int64_t size, DType dtype) {
  std::vector<double> values = noise(size, DType::f32).to_doubles();
  const std::vector<double> colors = random_tensor({kImages, 3}, DType::f32, Device::cpu, 2).to_doubles();
  const size_t image = size_t(size * size * 3);
  for (size_t i = 0; i < values.size(); ++i) values[i] += colors[i / image * 3 + i % 3];
  return make_tensor(values, {kImages, size, size, 3}, dtype, Device::cpu);
}

// The cross-entropy in train mode before each of `steps` updates. Stops early when it is below `enough` times the
// first.
std::vector<double> losses_of(const std::string& name, const Tensor& inputs, float rate,
                              const OptimizerOptions& options = {}, int64_t steps = 16, double enough = 0) {
  Params params;
  const auto network = find_model(name).make(Scope(params), kClasses);
  params.allocate(Device::cpu, inputs.dtype(), 1);
  const Var images(inputs);
  std::vector<int32_t> classes;
  for (int32_t i = 0; i < kImages; ++i) classes.push_back(i % int32_t(kClasses));
  const Tensor labels = Tensor::from(classes, {kImages}, Device::cpu);
  const auto optimizer = make_optimizer(options, params);
  std::vector<float> scalars(kScalarCount, 0);
  scalars[kLearningRate] = rate;
  scalars[kGradScale] = 1;
  std::vector<double> losses;
  for (int64_t step = 0; step < steps; ++step) {
    scalars[kStep] = float(step + 1);
    const Tensor counter = Tensor::from(std::vector<int64_t>{step}, {1}, Device::cpu);
    Tape tape;
    const Var features = network->features(images, Mode::train, counter);
    const Var loss = cross_entropy(network->logits(features, Mode::train, counter), labels);
    losses.push_back(loss.value.to_doubles()[0]);
    if (losses.back() < enough * losses.front()) break;
    tape.backward(loss);
    optimizer->step(params, Tensor::from(scalars, {kScalarCount}, Device::cpu));
  }
  return losses;
}

struct Case {
  const char* name;
  int64_t size;  // small, for speed
  float rate;    // the learning rate: small for few images and wide features
};

class Learning : public testing::TestWithParam<Case> {};

TEST_P(Learning, LossFalls) {
  const Case& c = GetParam();
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const std::vector<double> losses = losses_of(c.name, noise(c.size, dtype), c.rate);
    EXPECT_LT(losses.back(), 0.7 * losses.front()) << name_of(dtype);
  }
}

INSTANTIATE_TEST_SUITE_P(Families, Learning,
                         testing::Values(Case{"resnext50_32x4d", 32, 0.005f}, Case{"resnet20_cifar", 16, 0.02f},
                                         Case{"resnet8x4", 16, 0.02f}, Case{"wrn_16_2", 16, 0.03f},
                                         Case{"vgg8_cifar", 16, 0.02f}, Case{"mobilenet_v2", 32, 0.03f},
                                         Case{"efficientnet_b0", 32, 0.002f}, Case{"mobilenet_v3_small", 32, 0.05f},
                                         Case{"shufflenet_v1_cifar", 16, 0.002f},
                                         Case{"shufflenet_v2_cifar", 32, 0.005f},
                                         Case{"mobilenet_v2_cifar", 32, 0.05f}),
                         [](const auto& each) { return std::string(each.param.name); });

// The same for the networks that COSS_EVERY_MODEL names ("all", or names between commas), with one optimizer for all.
// Networks with a position for every token take their own image size and a smaller rate; the others take small images.
TEST(EveryModel, LossFalls) {
  const char* wanted = std::getenv("COSS_EVERY_MODEL");
  if (!wanted) GTEST_SKIP() << "set COSS_EVERY_MODEL to 'all' or to names between commas of networks to train";
  const std::string names = "," + std::string(wanted) + ",";
  for (const ModelInfo& model : models()) {
    const std::string name = model.name;
    if (names != ",all," && names.find("," + name + ",") == std::string::npos) continue;
    const bool fixed = name.find("vit") != std::string::npos || name.starts_with("clip");
    const int64_t size = fixed ? model.image_size : std::min<int64_t>(model.image_size, 32);
    for (const DType dtype : {DType::f32, DType::bf16}) {
      const std::vector<double> losses =
          losses_of(name, colored_noise(size, dtype), fixed ? 3e-5f : 3e-4f, {.name = "adamw"}, 128, 0.7);
      std::printf("%s %s: %.3f -> %.3f in %zu steps\n", model.name, name_of(dtype), losses.front(), losses.back(),
                  losses.size());
      std::fflush(stdout);
      EXPECT_LT(losses.back(), 0.7 * losses.front()) << name << " in " << name_of(dtype);
    }
  }
}

}  // namespace
}  // namespace coss::test
