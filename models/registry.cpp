// The table of models.
#include "engine/text.h"
#include "models/mobilenet_v2.h"
#include "models/resnet.h"
#include "models/resnet_cifar.h"

namespace coss {
namespace {

using Blocks = std::array<int64_t, 4>;

auto resnet(Blocks blocks, bool bottleneck) {
  return [=](const Scope& scope, int64_t classes) { return make_resnet(scope, {blocks, bottleneck, classes}); };
}

auto resnet_cifar(int64_t blocks) {
  return [=](const Scope& scope, int64_t classes) { return make_resnet_cifar(scope, {blocks, classes}); };
}

}  // namespace

const std::vector<ModelInfo>& models() {
  static const std::vector<ModelInfo> table{
      // name, description, image size, feature width, classes, make
      {"resnet18", "ResNet-18 (torchvision)", 224, 512, 1000, resnet({2, 2, 2, 2}, false)},
      {"resnet34", "ResNet-34 (torchvision)", 224, 512, 1000, resnet({3, 4, 6, 3}, false)},
      {"resnet50", "ResNet-50 v1.5 (torchvision)", 224, 2048, 1000, resnet({3, 4, 6, 3}, true)},
      {"resnet101", "ResNet-101 v1.5 (torchvision)", 224, 2048, 1000, resnet({3, 4, 23, 3}, true)},
      {"resnet152", "ResNet-152 v1.5 (torchvision)", 224, 2048, 1000, resnet({3, 8, 36, 3}, true)},
      {"resnet20_cifar", "CIFAR ResNet-20, option-A shortcuts", 32, 64, 10, resnet_cifar(3)},
      {"resnet32_cifar", "CIFAR ResNet-32, option-A shortcuts", 32, 64, 10, resnet_cifar(5)},
      {"resnet44_cifar", "CIFAR ResNet-44, option-A shortcuts", 32, 64, 10, resnet_cifar(7)},
      {"resnet56_cifar", "CIFAR ResNet-56, option-A shortcuts", 32, 64, 10, resnet_cifar(9)},
      {"resnet110_cifar", "CIFAR ResNet-110, option-A shortcuts", 32, 64, 10, resnet_cifar(18)},
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
