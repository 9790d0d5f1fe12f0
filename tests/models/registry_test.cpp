// The registry: sizes of the published networks, names of parameters, and the shapes that come out.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "models/network.h"
#include "tests/support/support.h"

namespace coss::test {
namespace {

TEST(Models, ParametersAreThoseOfThePublishedNetworks) {
  const std::map<std::string, int64_t> published{
      {"resnet18", 11'689'512},    {"resnet34", 21'797'672},      {"resnet50", 25'557'032},
      {"resnet101", 44'549'160},   {"resnet152", 60'192'808},     {"mobilenet_v2", 3'504'872},
      {"resnet20_cifar", 269'722}, {"resnet32_cifar", 464'154},   {"resnet44_cifar", 658'586},
      {"resnet56_cifar", 853'018}, {"resnet110_cifar", 1'727'962}};
  ASSERT_EQ(models().size(), published.size());
  for (const ModelInfo& model : models()) EXPECT_EQ(cost_of(model).parameters, published.at(model.name)) << model.name;
}

// torchvision's table of GFLOPS counts multiply-accumulates.
TEST(Models, CostsAreThoseOfTheTable) {
  const std::map<std::string, double> table{{"resnet18", 1.814},  {"resnet34", 3.664},   {"resnet50", 4.089},
                                            {"resnet101", 7.801}, {"resnet152", 11.514}, {"mobilenet_v2", 0.301}};
  for (const auto& [name, giga] : table) EXPECT_NEAR(double(cost_of(find_model(name)).macs) * 1e-9, giga, 6e-4) << name;
}

TEST(Models, NamesArePytorchs) {
  const std::map<std::string, std::vector<std::string>> expected{
      {"resnet50",
       {"conv1.weight", "bn1.running_var", "layer1.0.conv3.weight", "layer1.0.downsample.0.weight",
        "layer1.0.downsample.1.running_mean", "layer4.2.bn3.bias", "fc.weight", "fc.bias"}},
      {"resnet20_cifar",
       {"conv1.weight", "bn1.weight", "layer1.0.conv1.weight", "layer3.2.bn2.running_mean", "linear.bias"}},
      {"mobilenet_v2",
       {"features.0.0.weight", "features.0.1.bias", "features.1.conv.0.0.weight", "features.1.conv.0.1.weight",
        "features.1.conv.1.weight", "features.1.conv.2.running_var", "features.2.conv.0.0.weight",
        "features.2.conv.1.0.weight", "features.2.conv.2.weight", "features.17.conv.3.bias", "features.18.0.weight",
        "features.18.1.weight", "classifier.1.weight", "classifier.1.bias"}}};
  for (const auto& [model, names] : expected) {
    Params params;
    const auto network = find_model(model).make(Scope(params) / "teacher", 10);
    std::set<std::string> known;
    for (const Params::Entry& entry : params.entries()) known.insert(entry.name);
    for (const std::string& name : names) EXPECT_TRUE(known.count("teacher." + name)) << model << " " << name;
  }
}

TEST(Models, ShapesOfFeaturesStagesAndLogits) {
  for (const char* name : {"resnet18", "resnet50", "resnet20_cifar", "mobilenet_v2"}) {
    const ModelInfo& model = find_model(name);
    Params params;
    const auto network = model.make(Scope(params), 7);
    params.allocate(Device::cpu, DType::f32, 1, true);
    std::vector<Var> stages;
    const Var images(random_tensor({2, 32, 32, 3}, DType::f32, Device::cpu, 1));
    const Var features = network->features(images, Mode::eval, &stages);
    EXPECT_EQ(network->feature_width, model.feature_width);
    EXPECT_EQ(features.shape(), (Shape{2, model.feature_width})) << name;
    EXPECT_EQ(network->logits(features, Mode::eval).shape(), (Shape{2, 7})) << name;
    ASSERT_FALSE(stages.empty());
    for (size_t i = 1; i < stages.size(); ++i) EXPECT_LT(stages[i].shape()[1], stages[i - 1].shape()[1]) << name;
    EXPECT_EQ(stages.back().shape().back(), model.feature_width) << name;
  }
}

TEST(Models, BackbonesHaveNoClassifier) {
  for (const ModelInfo& model : models()) {
    Params with, without;
    const auto complete = model.make(Scope(with), 3), backbone = model.make(Scope(without), 0);
    EXPECT_EQ(with.count() - without.count(), 3 * (model.feature_width + 1)) << model.name;
    EXPECT_THROW(backbone->logits(Var(Tensor({1, model.feature_width}, DType::f32, Device::cpu)), Mode::eval), Error);
  }
}

// The mask depends on seed and step: the same step gives the same logits, another step others.
TEST(Models, DropoutFollowsTheStep) {
  Params params;
  const auto network = find_model("mobilenet_v2").make(Scope(params), 10);
  params.allocate(Device::cpu, DType::f32, 1);
  const Var features(random_tensor({4, 1280}, DType::f32, Device::cpu, 1));
  auto logits = [&](int64_t step) {
    const Tensor counter = Tensor::from(std::vector<int64_t>{step}, {1}, Device::cpu);
    return network->logits(features, Mode::train, counter).value.to_doubles();
  };
  EXPECT_EQ(logits(3), logits(3));
  EXPECT_NE(logits(3), logits(4));
  EXPECT_THROW(network->logits(features, Mode::train), Error);
}

TEST(Models, UnknownNamesGetASuggestion) {
  try {
    find_model("resnet5");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("did you mean \"resnet50\"?"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace coss::test
