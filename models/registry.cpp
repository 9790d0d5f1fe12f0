// The table of models.
#include "engine/text.h"
#include "models/mobilenet_v2.h"
#include "models/resnet.h"
#include "models/resnet_cifar.h"
#include "models/vgg.h"
#include "models/wrn.h"

namespace coss {
namespace {

using Four = std::array<int64_t, 4>;

// Blocks per stage of a ResNet; ResNet-50 is ResNet-34 with bottlenecks.
constexpr Four k18{2, 2, 2, 2}, k34{3, 4, 6, 3}, k50 = k34, k101{3, 4, 23, 3}, k152{3, 8, 36, 3};
// Widths of stem and stages of the distillation literature's ResNets.
constexpr Four kPlain{16, 16, 32, 64}, kWide{32, 64, 128, 256};

auto resnet(ResnetOptions options) {
  return [options](const Scope& scope, int64_t classes) mutable {
    options.classes = classes;
    return make_resnet(scope, options);
  };
}

auto resnet_cifar(int64_t blocks) {
  return [=](const Scope& scope, int64_t classes) {
    return make_resnet_cifar(scope, {.blocks = blocks, .classes = classes});
  };
}

auto resnet_projected(int64_t blocks, Four widths = kPlain) {
  return [=](const Scope& scope, int64_t classes) {
    return make_resnet_cifar(scope, {.blocks = blocks, .classes = classes, .projections = true, .widths = widths});
  };
}

auto wrn(int64_t depth, int64_t widen) {
  return [=](const Scope& scope, int64_t classes) { return make_wrn(scope, {depth, widen, classes}); };
}

auto vgg_cifar(int64_t convolutions) {
  return [=](const Scope& scope, int64_t classes) { return make_vgg_cifar(scope, {convolutions, classes}); };
}

}  // namespace

const std::vector<ModelInfo>& models() {
  static const std::vector<ModelInfo> table{
      // name, description, image size, feature width, classes, make
      {"resnet18", "ResNet-18 (torchvision)", 224, 512, 1000, resnet({k18, false})},
      {"resnet34", "ResNet-34 (torchvision)", 224, 512, 1000, resnet({k34, false})},
      {"resnet50", "ResNet-50 v1.5 (torchvision)", 224, 2048, 1000, resnet({k50, true})},
      {"resnet101", "ResNet-101 v1.5 (torchvision)", 224, 2048, 1000, resnet({k101, true})},
      {"resnet152", "ResNet-152 v1.5 (torchvision)", 224, 2048, 1000, resnet({k152, true})},
      {"resnet50w2", "ResNet-50, all widths x2 (SimCLR, SwAV)", 224, 4096, 1000,
       resnet({.blocks = k50, .bottleneck = true, .widen = 2})},
      {"resnet50w4", "ResNet-50, all widths x4 (SimCLR, SwAV)", 224, 8192, 1000,
       resnet({.blocks = k50, .bottleneck = true, .widen = 4})},
      {"resnet50w5", "ResNet-50, all widths x5 (SwAV)", 224, 10240, 1000,
       resnet({.blocks = k50, .bottleneck = true, .widen = 5})},
      {"wide_resnet50_2", "ResNet-50, bottlenecks x2 (torchvision)", 224, 2048, 1000,
       resnet({.blocks = k50, .bottleneck = true, .group_width = 128})},
      {"wide_resnet101_2", "ResNet-101, bottlenecks x2 (torchvision)", 224, 2048, 1000,
       resnet({.blocks = k101, .bottleneck = true, .group_width = 128})},
      {"resnext50_32x4d", "ResNeXt-50 32x4d (torchvision)", 224, 2048, 1000,
       resnet({.blocks = k50, .bottleneck = true, .groups = 32, .group_width = 4})},
      {"resnext101_32x8d", "ResNeXt-101 32x8d (torchvision)", 224, 2048, 1000,
       resnet({.blocks = k101, .bottleneck = true, .groups = 32, .group_width = 8})},
      {"resnet18_cifar_stem", "ResNet-18, 3x3 stem without pooling (solo-learn)", 32, 512, 10,
       resnet({.blocks = k18, .cifar_stem = true})},
      {"resnet34_cifar_stem", "ResNet-34, 3x3 stem without pooling (solo-learn)", 32, 512, 10,
       resnet({.blocks = k34, .cifar_stem = true})},
      {"resnet50_cifar_stem", "ResNet-50, 3x3 stem without pooling (solo-learn)", 32, 2048, 10,
       resnet({.blocks = k50, .bottleneck = true, .cifar_stem = true})},
      {"resnet20_cifar", "CIFAR ResNet-20, option-A shortcuts", 32, 64, 10, resnet_cifar(3)},
      {"resnet32_cifar", "CIFAR ResNet-32, option-A shortcuts", 32, 64, 10, resnet_cifar(5)},
      {"resnet44_cifar", "CIFAR ResNet-44, option-A shortcuts", 32, 64, 10, resnet_cifar(7)},
      {"resnet56_cifar", "CIFAR ResNet-56, option-A shortcuts", 32, 64, 10, resnet_cifar(9)},
      {"resnet110_cifar", "CIFAR ResNet-110, option-A shortcuts", 32, 64, 10, resnet_cifar(18)},
      {"resnet8_rd", "CIFAR ResNet-8, 1x1 shortcuts (RepDistiller resnet8)", 32, 64, 100, resnet_projected(1)},
      {"resnet14_rd", "CIFAR ResNet-14, 1x1 shortcuts (RepDistiller resnet14)", 32, 64, 100, resnet_projected(2)},
      {"resnet20_rd", "CIFAR ResNet-20, 1x1 shortcuts (RepDistiller resnet20)", 32, 64, 100, resnet_projected(3)},
      {"resnet32_rd", "CIFAR ResNet-32, 1x1 shortcuts (RepDistiller resnet32)", 32, 64, 100, resnet_projected(5)},
      {"resnet44_rd", "CIFAR ResNet-44, 1x1 shortcuts (RepDistiller resnet44)", 32, 64, 100, resnet_projected(7)},
      {"resnet56_rd", "CIFAR ResNet-56, 1x1 shortcuts (RepDistiller resnet56)", 32, 64, 100, resnet_projected(9)},
      {"resnet110_rd", "CIFAR ResNet-110, 1x1 shortcuts (RepDistiller resnet110)", 32, 64, 100, resnet_projected(18)},
      {"resnet8x4", "CIFAR ResNet-8, 4 times as wide (RepDistiller)", 32, 256, 100, resnet_projected(1, kWide)},
      {"resnet32x4", "CIFAR ResNet-32, 4 times as wide (RepDistiller)", 32, 256, 100, resnet_projected(5, kWide)},
      {"wrn_16_1", "CIFAR WideResNet-16-1 (RepDistiller)", 32, 64, 100, wrn(16, 1)},
      {"wrn_16_2", "CIFAR WideResNet-16-2 (RepDistiller)", 32, 128, 100, wrn(16, 2)},
      {"wrn_40_1", "CIFAR WideResNet-40-1 (RepDistiller)", 32, 64, 100, wrn(40, 1)},
      {"wrn_40_2", "CIFAR WideResNet-40-2 (RepDistiller)", 32, 128, 100, wrn(40, 2)},
      {"vgg8_cifar", "CIFAR VGG-8 with batch norm (RepDistiller vgg8)", 32, 512, 100, vgg_cifar(1)},
      {"vgg13_cifar", "CIFAR VGG-13 with batch norm (RepDistiller vgg13)", 32, 512, 100, vgg_cifar(2)},
      {"mobilenet_v2", "MobileNetV2 (torchvision)", 224, 1280, 1000, make_mobilenet_v2},
  };
  return table;
}

const ModelInfo& find_model(const std::string& name) {
  std::vector<std::string> known;
  for (const ModelInfo& model : models()) {
    if (name == model.name) return model;
    known.push_back(model.name);
  }
  throw Error(unknown_name("model", name, known));
}

ModelCost cost_of(const ModelInfo& model) {
  Params params;
  const auto network = model.make(Scope(params), model.classes);
  return {params.count(), network->macs(model.image_size)};
}

}  // namespace coss
