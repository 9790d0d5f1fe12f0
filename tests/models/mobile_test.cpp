// EfficientNets, MobileNetV3s, ShuffleNets and the CIFAR MobileNetV2 against PyTorch's: eval and train mode, and
// stochastic depth.
#include <gtest/gtest.h>

#include "models/cost.h"
#include "models/efficientnet.h"
#include "tests/models/model_goldens.h"

namespace coss::test {
namespace {

const GoldenFile& goldens() {
  static const GoldenFile file("mobile.safetensors");
  return file;
}

// The goldens are made without stochastic depth, because PyTorch draws other random numbers.
NetworkMaker maker_without_drops(const std::string& name) {
  if (name != "efficientnet_b0" && name != "tf_efficientnet_b0") return maker_of(name);
  return [&model = find_model(name)](const Scope& scope) {
    return make_efficientnet(scope, {.numerics = *model.numerics, .drop_path = 0});
  };
}

void expect_eval(const std::string& name, Device device, DType dtype, double bound) {
  GoldenNetwork network(goldens(), name, maker_without_drops(name), device, dtype, Mode::eval);
  EXPECT_TRUE(network.has("eval/logits") && network.has("eval/stages")) << name;
  network.expect_eval(bound);
}

void expect_train(const std::string& name, Device device, DType dtype, double bound, double gradient_bound) {
  GoldenNetwork network(goldens(), name, maker_without_drops(name), device, dtype, Mode::train);
  EXPECT_TRUE(network.has("train/loss")) << name;
  network.expect_train(bound, gradient_bound, gradient_bound);
}

class MobileGoldens : public testing::TestWithParam<std::string> {};

// CUDA kernels on the processor are too slow for big networks; smaller ones of the same family are tested.
TEST_P(MobileGoldens, Eval) {
  for (const Device device : devices_for_networks()) {
#if defined(COSS_CUDA_HOST)
    if (device == Device::cuda && cost_of(find_model(GetParam())).parameters > 10'000'000) continue;
#endif
    expect_eval(GetParam(), device, DType::f32, 1e-10);
  }
}

std::vector<std::string> names() {
  std::vector<std::string> found;
  for (const ModelInfo& model : models())
    for (const char* family : {"efficientnet", "mobilenet_v3", "mobilenetv3", "shufflenet", "mobilenet_v2_cifar"})
      if (std::string(model.name).find(family) != std::string::npos) found.push_back(model.name);
  return found;
}
INSTANTIATE_TEST_SUITE_P(All, MobileGoldens, testing::ValuesIn(names()),
                         [](const auto& model) { return std::string(model.param); });

// In float32 a ReLU input within rounding of zero may have the other sign, and its whole gradient with it: PyTorch's
// own float32 is up to 1e-4 away in the ShuffleNets and below 1e-9 in the networks of smooth activations.
TEST(MobileTrainingGoldens, Float32) {
  for (const Device device : devices_for_networks()) {
    for (const char* name : {"efficientnet_b0", "tf_efficientnet_b0", "mobilenet_v3_small", "mobilenetv3_small_100",
                             "mobilenet_v3_small_dli14"})
      expect_train(name, device, DType::f32, 1e-8, 1e-5);
    for (const char* name :
         {"shufflenet_v1", "shufflenet_v2_x0_5", "shufflenet_v1_cifar", "shufflenet_v2_cifar", "mobilenet_v2_cifar"})
      expect_train(name, device, DType::f32, 1e-7, 5e-3);
  }
}

TEST(MobileTrainingGoldens, ReferenceInDouble) {
  for (const char* name : {"mobilenet_v3_small_dli14", "shufflenet_v1_cifar", "shufflenet_v2_cifar"}) {
    expect_eval(name, Device::reference, DType::f64, 1e-13);
    expect_train(name, Device::reference, DType::f64, 1e-13, 1e-13);
  }
}

// The random draw depends on seed and step; without a step the network throws.
TEST(Efficientnet, StochasticDepthFollowsTheStep) {
  Params params;
  const auto network = find_model("efficientnet_b0").make(Scope(params), 10);
  params.allocate(Device::cpu, DType::f32, 1);
  const Var images(random_tensor({4, 32, 32, 3}, DType::f32, Device::cpu, 1));
  auto features = [&](int64_t step) {
    const Tensor counter = Tensor::from(std::vector<int64_t>{step}, {1}, Device::cpu);
    return network->features(images, Mode::train, counter).value.to_doubles();
  };
  EXPECT_EQ(features(3), features(3));
  EXPECT_NE(features(3), features(4));
  EXPECT_THROW(network->features(images, Mode::train), Error);
}

TEST(Models, LibrariesHaveTheirVariants) {
  EXPECT_EQ(variant_for("efficientnet_b3", "lukemelas"), "tf_efficientnet_b3");
  EXPECT_EQ(variant_for("mobilenet_v3_large", "timm"), "mobilenetv3_large_100");
  EXPECT_EQ(variant_for("mobilenet_v3_small", "d-li14"), "mobilenet_v3_small_dli14");
  EXPECT_EQ(variant_for("mobilenet_v3_small", "torchvision"), "mobilenet_v3_small");
}

}  // namespace
}  // namespace coss::test
