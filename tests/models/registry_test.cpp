// The registry: sizes of the published networks, names of parameters, and the shapes that come out.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "models/cost.h"
#include "tests/support/support.h"

namespace coss::test {
namespace {

TEST(Models, ParametersAreThoseOfThePublishedNetworks) {
  const std::map<std::string, int64_t> published{{"resnet18", 11'689'512},
                                                 {"resnet34", 21'797'672},
                                                 {"resnet50", 25'557'032},
                                                 {"resnet101", 44'549'160},
                                                 {"resnet152", 60'192'808},
                                                 {"mobilenet_v2", 3'504'872},
                                                 {"efficientnet_v2_s", 21'458'488},
                                                 {"efficientnet_v2_m", 54'139'356},
                                                 {"efficientnet_v2_l", 118'515'272},
                                                 {"squeezenet1_1", 722'496},
                                                 {"efficientnet_b0", 5'288'548},
                                                 {"efficientnet_b1", 7'794'184},
                                                 {"efficientnet_b2", 9'109'994},
                                                 {"efficientnet_b3", 12'233'232},
                                                 {"efficientnet_b4", 19'341'616},
                                                 {"efficientnet_b5", 30'389'784},
                                                 {"efficientnet_b6", 43'040'704},
                                                 {"efficientnet_b7", 66'347'960},
                                                 {"mobilenet_v3_small", 2'542'856},
                                                 {"mobilenet_v3_large", 5'483'032},
                                                 {"shufflenet_v2_x0_5", 1'366'792},
                                                 {"shufflenet_v2_x1_0", 2'278'604},
                                                 {"shufflenet_v2_x1_5", 3'503'624},
                                                 {"shufflenet_v2_x2_0", 7'393'996},
                                                 {"tf_efficientnet_b0", 5'288'548},
                                                 {"tf_efficientnet_b1", 7'794'184},
                                                 {"tf_efficientnet_b2", 9'109'994},
                                                 {"tf_efficientnet_b3", 12'233'232},
                                                 {"tf_efficientnet_b4", 19'341'616},
                                                 {"tf_efficientnet_b5", 30'389'784},
                                                 {"tf_efficientnet_b6", 43'040'704},
                                                 {"tf_efficientnet_b7", 66'347'960},
                                                 {"mobilenetv3_small_100", 2'542'856},
                                                 {"mobilenetv3_large_100", 5'483'032},
                                                 {"mobilenet_v3_small_dli14", 2'542'856},
                                                 {"mobilenet_v3_large_dli14", 5'483'032},
                                                 {"shufflenet_v1", 1'865'728},
                                                 {"shufflenet_v1_cifar", 949'258},
                                                 {"shufflenet_v2_cifar", 1'355'528},
                                                 {"mobilenet_v2_cifar", 812'836},
                                                 {"wide_resnet50_2", 68'883'240},
                                                 {"wide_resnet101_2", 126'886'696},
                                                 {"resnext50_32x4d", 25'028'904},
                                                 {"resnext101_32x8d", 88'791'336},
                                                 {"resnet50w2", 98'004'072},
                                                 {"resnet50w4", 383'571'176},
                                                 {"resnet50w5", 596'691'240},
                                                 {"resnet20_cifar", 269'722},
                                                 {"resnet32_cifar", 464'154},
                                                 {"resnet44_cifar", 658'586},
                                                 {"resnet56_cifar", 853'018},
                                                 {"resnet110_cifar", 1'727'962},
                                                 {"resnet18_cifar_stem", 11'173'962},
                                                 {"resnet34_cifar_stem", 21'282'122},
                                                 {"resnet50_cifar_stem", 23'520'842},
                                                 {"resnet8_rd", 83'892},
                                                 {"resnet14_rd", 181'108},
                                                 {"resnet20_rd", 278'324},
                                                 {"resnet32_rd", 472'756},
                                                 {"resnet44_rd", 667'188},
                                                 {"resnet56_rd", 861'620},
                                                 {"resnet110_rd", 1'736'564},
                                                 {"resnet8x4", 1'233'540},
                                                 {"resnet32x4", 7'433'860},
                                                 {"wrn_16_1", 180'916},
                                                 {"wrn_16_2", 703'284},
                                                 {"wrn_40_1", 569'780},
                                                 {"wrn_40_2", 2'255'156},
                                                 {"vgg8_cifar", 3'965'028},
                                                 {"vgg13_cifar", 9'462'180},
                                                 {"vit_tiny_patch16_224", 5'717'416},
                                                 {"vit_tiny_patch32_224", 6'131'560},
                                                 {"vit_small_patch16_224", 22'050'664},
                                                 {"vit_small_patch32_224", 22'878'952},
                                                 {"vit_base_patch16_224", 86'567'656},
                                                 {"vit_base_patch32_224", 88'224'232},
                                                 {"vit_small_patch8_224", 22'055'272},
                                                 {"vit_base_patch8_224", 86'576'872},
                                                 {"vit_small_patch16_224_gap", 22'050'664},
                                                 {"vit_base_patch16_224_gap", 86'567'656},
                                                 {"vit_small_patch16_224_mocov3", 22'050'664},
                                                 {"clip_rn50", 38'316'896},
                                                 {"clip_rn101", 56'259'936},
                                                 {"clip_vit_b32", 87'849'216},
                                                 {"clip_vit_b16", 86'192'640}};
  ASSERT_EQ(models().size(), published.size());
  for (const ModelInfo& model : models()) EXPECT_EQ(cost_of(model).parameters, published.at(model.name)) << model.name;
}

// From torchvision's table of GFLOPS, which are multiply-accumulates.
TEST(Models, CostsAreThoseOfTheTable) {
  const std::map<std::string, double> table{{"resnet18", 1.814},          {"resnet34", 3.664},
                                            {"resnet50", 4.089},          {"resnet101", 7.801},
                                            {"resnet152", 11.514},        {"wide_resnet50_2", 11.398},
                                            {"wide_resnet101_2", 22.753}, {"resnext50_32x4d", 4.230},
                                            {"resnext101_32x8d", 16.414}, {"mobilenet_v2", 0.301}};
  for (const auto& [name, giga] : table) EXPECT_NEAR(double(cost_of(find_model(name)).macs) * 1e-9, giga, 6e-4) << name;
}

// PyTorch's figures, counted by hooks on the convolutions and linear layers of the networks that the goldens are made
// of.
TEST(Models, CostsAreThoseOfPytorchsNetworks) {
  const std::map<std::string, int64_t> counted{{"resnet50w2", 16'116'613'120},
                                               {"resnet50w4", 63'986'204'672},
                                               {"resnet50w5", 99'828'367'360},
                                               {"resnet18_cifar_stem", 703'565'568},
                                               {"resnet34_cifar_stem", 1'459'425'024},
                                               {"resnet50_cifar_stem", 1'630'522'112},
                                               {"resnet20_cifar", 40'551'040},
                                               {"resnet110_cifar", 252'887'680},
                                               {"resnet8_rd", 12'507'392},
                                               {"resnet110_rd", 253'155'584},
                                               {"resnet8x4", 177'071'104},
                                               {"resnet32x4", 1'083'040'768},
                                               {"wrn_16_1", 26'663'168},
                                               {"wrn_16_2", 101'118'464},
                                               {"wrn_40_1", 83'286'272},
                                               {"wrn_40_2", 327'610'880},
                                               {"vgg8_cifar", 96'192'512},
                                               {"vgg13_cifar", 284'936'192},
                                               {"efficientnet_v2_s", 8'365'617'152},
                                               {"efficientnet_v2_m", 24'582'460'384},
                                               {"efficientnet_v2_l", 56'079'699'008},
                                               {"squeezenet1_1", 262'623'936},
                                               {"efficientnet_b0", 385'814'752},
                                               {"efficientnet_b1", 686'802'832},
                                               {"efficientnet_b2", 1'087'529'456},
                                               {"efficientnet_b3", 1'827'141'392},
                                               {"efficientnet_b4", 4'393'771'024},
                                               {"efficientnet_b5", 10'266'384'752},
                                               {"efficientnet_b6", 19'067'593'536},
                                               {"efficientnet_b7", 37'745'884'192},
                                               {"mobilenet_v3_small", 56'510'400},
                                               {"mobilenet_v3_large", 216'589'760},
                                               {"shufflenet_v2_x0_5", 40'476'448},
                                               {"shufflenet_v2_x1_0", 144'907'992},
                                               {"shufflenet_v2_x1_5", 295'759'392},
                                               {"shufflenet_v2_x2_0", 583'253'464},
                                               {"tf_efficientnet_b0", 385'814'752},
                                               {"tf_efficientnet_b1", 686'802'832},
                                               {"tf_efficientnet_b2", 993'561'872},
                                               {"tf_efficientnet_b3", 1'827'141'392},
                                               {"tf_efficientnet_b4", 4'393'771'024},
                                               {"tf_efficientnet_b5", 10'266'384'752},
                                               {"tf_efficientnet_b6", 19'067'593'536},
                                               {"tf_efficientnet_b7", 37'745'884'192},
                                               {"mobilenetv3_small_100", 56'510'400},
                                               {"mobilenetv3_large_100", 216'589'760},
                                               {"mobilenet_v3_small_dli14", 56'510'400},
                                               {"mobilenet_v3_large_dli14", 216'589'760},
                                               {"shufflenet_v1", 137'460'672},
                                               {"shufflenet_v1_cifar", 38'691'456},
                                               {"shufflenet_v2_cifar", 44'504'448},
                                               {"mobilenet_v2_cifar", 6'523'648}};
  for (const auto& [name, macs] : counted) EXPECT_EQ(cost_of(find_model(name)).macs, macs) << name;
}

TEST(Models, NamesArePytorchs) {
  const std::map<std::string, std::vector<std::string>> expected{
      {"resnet50",
       {"conv1.weight", "bn1.running_var", "layer1.0.conv3.weight", "layer1.0.downsample.0.weight",
        "layer1.0.downsample.1.running_mean", "layer4.2.bn3.bias", "fc.weight", "fc.bias"}},
      {"resnet20_cifar",
       {"conv1.weight", "bn1.weight", "layer1.0.conv1.weight", "layer3.2.bn2.running_mean", "linear.bias"}},
      {"resnet8x4",
       {"conv1.weight", "layer1.0.downsample.0.weight", "layer3.0.downsample.1.running_var", "fc.weight", "fc.bias"}},
      {"wrn_16_2",
       {"conv1.weight", "block1.layer.0.bn1.weight", "block1.layer.0.convShortcut.weight",
        "block3.layer.1.conv2.weight", "block3.layer.1.bn2.running_mean", "bn1.running_var", "fc.bias"}},
      {"vgg13_cifar",
       {"block0.0.weight", "block0.0.bias", "block0.1.running_mean", "block4.3.bias", "block4.4.weight",
        "classifier.weight", "classifier.bias"}},
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
  for (const char* name :
       {"resnet18", "resnet50", "resnext50_32x4d", "resnet18_cifar_stem", "resnet20_cifar", "resnet8x4", "wrn_16_2",
        "mobilenet_v2", "efficientnet_b0", "tf_efficientnet_b0", "mobilenet_v3_small", "mobilenet_v3_large_dli14",
        "shufflenet_v1", "shufflenet_v2_x0_5", "shufflenet_v1_cifar", "shufflenet_v2_cifar", "mobilenet_v2_cifar"}) {
    const ModelInfo& model = find_model(name);
    Params params;
    const auto network = model.make(Scope(params), 7);
    params.allocate(Device::cpu, DType::f32, 1, true);
    std::vector<Var> stages;
    const Var images(random_tensor({2, 32, 32, 3}, DType::f32, Device::cpu, 1));
    const Var features = network->features(images, Mode::eval, {}, &stages);
    EXPECT_EQ(network->feature_width, model.feature_width);
    EXPECT_EQ(features.shape(), (Shape{2, model.feature_width})) << name;
    EXPECT_EQ(network->logits(features, Mode::eval).shape(), (Shape{2, 7})) << name;
    ASSERT_FALSE(stages.empty());
    for (size_t i = 1; i < stages.size(); ++i) EXPECT_LT(stages[i].shape()[1], stages[i - 1].shape()[1]) << name;
    EXPECT_EQ(stages.back().shape().back(), model.feature_width) << name;
  }
}

TEST(Models, VggPoolsOnceMoreAt64Pixels) {
  Params params;
  const auto network = find_model("vgg8_cifar").make(Scope(params), 0);
  params.allocate(Device::cpu, DType::f32, 1, true);
  for (const auto& [size, last] : {std::pair(32, 4), std::pair(64, 4)}) {
    std::vector<Var> stages;
    network->features(Var(random_tensor({1, size, size, 3}, DType::f32, Device::cpu, 1)), Mode::eval, {}, &stages);
    EXPECT_EQ(stages[3].shape()[1], size / 8);
    EXPECT_EQ(stages[4].shape()[1], last);
  }
}

TEST(Models, BackbonesHaveNoClassifier) {
  for (const ModelInfo& model : models()) {
    Params with, without;
    const auto complete = model.make(Scope(with), 3), backbone = model.make(Scope(without), 0);
    // MobileNetV3's classifier has a hidden layer.
    const int64_t width = with.entries()[with.entries().size() - 2].shape.back();
    const int64_t hidden = width == model.feature_width ? 0 : width * (model.feature_width + 1);
    EXPECT_EQ(with.count() - without.count(), 3 * (width + 1) + hidden) << model.name;
    EXPECT_THROW(backbone->logits(Var(Tensor({1, model.feature_width}, DType::f32, Device::cpu)), Mode::eval), Error);
  }
}

// Dropout's mask depends on seed and step: the same step gives the same logits, another step gives others.
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
