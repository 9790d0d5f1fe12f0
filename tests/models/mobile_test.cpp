// EfficientNets, MobileNetV3s, ShuffleNets and the CIFAR MobileNetV2 against PyTorch's: eval and train mode, and
// stochastic depth.
#include <gtest/gtest.h>

#include "autograd/ops.h"
#include "models/efficientnet.h"
#include "tests/models/model_goldens.h"
#include "tests/support/golden_file.h"

namespace coss::test {
namespace {

const GoldenFile& goldens() {
  static const GoldenFile file("mobile.safetensors");
  return file;
}

double error(const std::vector<double>& got, const std::string& key) {
  return normalised_error(got, goldens().values(key));
}

// PyTorch's goldens are made without stochastic depth, whose draws are its own.
std::unique_ptr<Network> make_without_drops(const std::string& name, const Scope& scope) {
  const ModelInfo& info = find_model(name);
  if (name == "efficientnet_b0" || name == "tf_efficientnet_b0")
    return make_efficientnet(scope, {.tensorflow = name.starts_with("tf_"), .drop_path = 0});
  return info.make(scope, info.classes);
}

struct Built {
  Built(const std::string& name, Device device, DType dtype, Mode mode) : key(name + "/") {
    network = make_without_drops(name, Scope(params));
    params.allocate(device, dtype, 0, mode == Mode::eval);
    fill_golden_weights(params, "", 0, goldens().number(key + "gain"));
    size = int64_t(goldens().number(key + "size"));
  }
  std::string key;
  Params params;
  std::unique_ptr<Network> network;
  int64_t size = 0;
};

void expect_eval(const std::string& name, Device device, DType dtype, double bound) {
  SCOPED_TRACE(name + " " + name_of(device));
  Built built(name, device, dtype, Mode::eval);
  std::vector<Var> stages;
  const Var images(golden_images("images", 2, built.size, 0, dtype, device));
  Tape tape;  // to which nothing is added
  const Var features = built.network->features(images, Mode::eval, {}, &stages);
  EXPECT_FALSE(features.grad);
  const Var logits = built.network->logits(features, Mode::eval);
  EXPECT_LT(error(thinned(features), built.key + "eval/features"), bound);
  EXPECT_LT(error(thinned(logits), built.key + "eval/logits"), bound);
  EXPECT_LT(error(summary(stages), built.key + "eval/stages"), bound);
}

void expect_train(const std::string& name, Device device, DType dtype, double bound, double gradient_bound) {
  SCOPED_TRACE(name + " " + name_of(device));
  Built built(name, device, dtype, Mode::train);
  const Var images(golden_images("images", 4, built.size, 2, dtype, device));
  Tape tape;
  const Var features = built.network->features(images, Mode::train);
  Var target = features;
  if (!goldens().keys(built.key + "train/logits").empty()) {
    target = built.network->logits(features, Mode::train);
    EXPECT_LT(error(thinned(target), built.key + "train/logits"), bound);
  }
  EXPECT_LT(error(thinned(features), built.key + "train/features"), bound);

  const Tensor weights = make_tensor(golden_noise("loss", target.value.numel()), target.shape(), dtype, device);
  const Var loss = weighted_sum(target, weights);
  EXPECT_LT(error(loss.value.to_doubles(), built.key + "train/loss"), gradient_bound);
  tape.backward(loss);
  for (const std::string& parameter : goldens().keys(built.key + "train/grad/")) {
    const Params::Entry& entry = find_entry(built.params, parameter);
    std::vector<double> gradient = in_file_order(entry, entry.var->grad->value);
    double squares = 0;
    for (const double g : gradient) squares += g * g;
    EXPECT_LT(error({std::sqrt(squares)}, built.key + "train/grad_norm/" + parameter), gradient_bound) << parameter;
    gradient.resize(goldens().values(built.key + "train/grad/" + parameter).size());
    EXPECT_LT(error(gradient, built.key + "train/grad/" + parameter), gradient_bound) << parameter;
  }
  for (const std::string& statistic : goldens().keys(built.key + "train/stat/")) {
    std::vector<double> values = find_entry(built.params, statistic).stat->to_doubles();
    values.resize(goldens().values(built.key + "train/stat/" + statistic).size());
    EXPECT_LT(error(values, built.key + "train/stat/" + statistic), bound) << statistic;
  }
}

class MobileGoldens : public testing::TestWithParam<std::string> {};

// CUDA kernels that run on the processor are slow where a network is big: there its smaller relatives stand for it.
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

// The draw depends on seed and step; without a step there is none.
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
