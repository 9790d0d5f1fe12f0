// The table of models.
#include "engine/text.h"
#include "models/clip.h"
#include "models/efficientnet.h"
#include "models/mobilenet_v2.h"
#include "models/mobilenet_v2_cifar.h"
#include "models/mobilenet_v3.h"
#include "models/resnet.h"
#include "models/resnet_cifar.h"
#include "models/shufflenet_v1.h"
#include "models/shufflenet_v2.h"
#include "models/squeezenet.h"
#include "models/vgg.h"
#include "models/vit.h"
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

VitOptions vit_options(int64_t heads, int64_t patch) { return {.width = 64 * heads, .heads = heads, .patch = patch}; }

auto vit(VitOptions options) {
  return [options](const Scope& scope, int64_t classes) mutable {
    options.classes = classes;
    return make_vit(scope, options);
  };
}

auto vit(int64_t heads, int64_t patch) { return vit(vit_options(heads, patch)); }

auto vit_mean_pooling(int64_t heads, int64_t patch) {
  VitOptions options = vit_options(heads, patch);
  options.mean_pooling = true;
  return vit(options);
}

auto clip_resnet(Four blocks, int64_t embedding) {
  return [=](const Scope& scope, int64_t classes) {
    return make_clip_resnet(scope, {.blocks = blocks, .embedding = embedding, .classes = classes});
  };
}

auto clip_vit(int64_t patch) {
  return
      [=](const Scope& scope, int64_t classes) { return make_clip_vit(scope, {.patch = patch, .classes = classes}); };
}

auto efficientnet(int size, bool tensorflow = false) {
  return [=](const Scope& scope, int64_t classes) {
    return make_efficientnet(scope, {.size = size, .tensorflow = tensorflow, .classes = classes});
  };
}

auto mobilenet_v3(bool large, MobilenetV3Kind kind) {
  return [=](const Scope& scope, int64_t classes) {
    return make_mobilenet_v3(scope, {.large = large, .kind = kind, .classes = classes});
  };
}

auto shufflenet_v1(bool cifar) {
  return [=](const Scope& scope, int64_t classes) {
    return make_shufflenet_v1(scope, {.cifar = cifar, .classes = classes});
  };
}

auto shufflenet_v2(int64_t width, int64_t last, bool cifar = false) {
  return [=](const Scope& scope, int64_t classes) {
    return make_shufflenet_v2(scope, {.width = width, .last = last, .cifar = cifar, .classes = classes});
  };
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
      {"efficientnet_b0", "EfficientNet-B0 (torchvision, timm)", 224, 1280, 1000, efficientnet(0)},
      {"efficientnet_b1", "EfficientNet-B1 (torchvision, timm)", 240, 1280, 1000, efficientnet(1)},
      {"efficientnet_b2", "EfficientNet-B2 (torchvision, timm)", 288, 1408, 1000, efficientnet(2)},
      {"efficientnet_b3", "EfficientNet-B3 (torchvision, timm)", 300, 1536, 1000, efficientnet(3)},
      {"efficientnet_b4", "EfficientNet-B4 (torchvision, timm)", 380, 1792, 1000, efficientnet(4)},
      {"efficientnet_b5", "EfficientNet-B5 (torchvision)", 456, 2048, 1000, efficientnet(5)},
      {"efficientnet_b6", "EfficientNet-B6 (torchvision)", 528, 2304, 1000, efficientnet(6)},
      {"efficientnet_b7", "EfficientNet-B7 (torchvision)", 600, 2560, 1000, efficientnet(7)},
      {"tf_efficientnet_b0", "EfficientNet-B0 with SAME padding (timm, lukemelas)", 224, 1280, 1000,
       efficientnet(0, true)},
      {"tf_efficientnet_b1", "EfficientNet-B1 with SAME padding (timm, lukemelas)", 240, 1280, 1000,
       efficientnet(1, true)},
      {"tf_efficientnet_b2", "EfficientNet-B2 with SAME padding (timm, lukemelas)", 260, 1408, 1000,
       efficientnet(2, true)},
      {"tf_efficientnet_b3", "EfficientNet-B3 with SAME padding (timm, lukemelas)", 300, 1536, 1000,
       efficientnet(3, true)},
      {"tf_efficientnet_b4", "EfficientNet-B4 with SAME padding (timm, lukemelas)", 380, 1792, 1000,
       efficientnet(4, true)},
      {"tf_efficientnet_b5", "EfficientNet-B5 with SAME padding (timm, lukemelas)", 456, 2048, 1000,
       efficientnet(5, true)},
      {"tf_efficientnet_b6", "EfficientNet-B6 with SAME padding (timm, lukemelas)", 528, 2304, 1000,
       efficientnet(6, true)},
      {"tf_efficientnet_b7", "EfficientNet-B7 with SAME padding (timm, lukemelas)", 600, 2560, 1000,
       efficientnet(7, true)},
      {"efficientnet_v2_s", "EfficientNetV2-S (torchvision)", 384, 1280, 1000, efficientnet(kEfficientnetV2S)},
      {"efficientnet_v2_m", "EfficientNetV2-M (torchvision)", 480, 1280, 1000, efficientnet(kEfficientnetV2M)},
      {"efficientnet_v2_l", "EfficientNetV2-L (torchvision)", 480, 1280, 1000, efficientnet(kEfficientnetV2L)},
      {"squeezenet1_1", "SqueezeNet 1.1, its convolutions alone (torchvision)", 224, 512, 0, make_squeezenet},
      {"mobilenet_v3_small", "MobileNetV3 small (torchvision)", 224, 576, 1000,
       mobilenet_v3(false, MobilenetV3Kind::torchvision)},
      {"mobilenetv3_small_100", "MobileNetV3 small (timm)", 224, 576, 1000, mobilenet_v3(false, MobilenetV3Kind::timm)},
      {"mobilenet_v3_small_dli14", "MobileNetV3 small, squeeze-and-excitation first (d-li14)", 224, 576, 1000,
       mobilenet_v3(false, MobilenetV3Kind::gate_first)},
      {"mobilenet_v3_large", "MobileNetV3 large (torchvision)", 224, 960, 1000,
       mobilenet_v3(true, MobilenetV3Kind::torchvision)},
      {"mobilenetv3_large_100", "MobileNetV3 large (timm)", 224, 960, 1000, mobilenet_v3(true, MobilenetV3Kind::timm)},
      {"mobilenet_v3_large_dli14", "MobileNetV3 large, squeeze-and-excitation first (d-li14)", 224, 960, 1000,
       mobilenet_v3(true, MobilenetV3Kind::gate_first)},
      {"shufflenet_v2_x0_5", "ShuffleNetV2 x0.5 (torchvision)", 224, 1024, 1000, shufflenet_v2(48, 1024)},
      {"shufflenet_v2_x1_0", "ShuffleNetV2 x1.0 (torchvision)", 224, 1024, 1000, shufflenet_v2(116, 1024)},
      {"shufflenet_v2_x1_5", "ShuffleNetV2 x1.5 (torchvision)", 224, 1024, 1000, shufflenet_v2(176, 1024)},
      {"shufflenet_v2_x2_0", "ShuffleNetV2 x2.0 (torchvision)", 224, 2048, 1000, shufflenet_v2(244, 2048)},
      {"shufflenet_v1", "ShuffleNetV1, three groups (arXiv 1707.01083)", 224, 960, 1000, shufflenet_v1(false)},
      {"shufflenet_v1_cifar", "CIFAR ShuffleNetV1 (RepDistiller ShuffleV1)", 32, 960, 100, shufflenet_v1(true)},
      {"shufflenet_v2_cifar", "CIFAR ShuffleNetV2 (RepDistiller ShuffleV2)", 32, 1024, 100,
       shufflenet_v2(116, 1024, true)},
      {"mobilenet_v2_cifar", "CIFAR MobileNetV2, half as wide (RepDistiller MobileNetV2)", 32, 1280, 100,
       make_mobilenet_v2_cifar},
      {"vit_tiny_patch16_224", "ViT-Ti/16 (timm)", 224, 192, 1000, vit(3, 16)},
      {"vit_tiny_patch32_224", "ViT-Ti/32 (timm's names)", 224, 192, 1000, vit(3, 32)},
      {"vit_small_patch16_224", "ViT-S/16 (timm, DINO)", 224, 384, 1000, vit(6, 16)},
      {"vit_small_patch32_224", "ViT-S/32 (timm)", 224, 384, 1000, vit(6, 32)},
      {"vit_base_patch16_224", "ViT-B/16 (timm, DINO, MoCo v3)", 224, 768, 1000, vit(12, 16)},
      {"vit_base_patch32_224", "ViT-B/32 (timm)", 224, 768, 1000, vit(12, 32)},
      {"vit_small_patch8_224", "ViT-S/8 (DINO)", 224, 384, 1000, vit(6, 8)},
      {"vit_base_patch8_224", "ViT-B/8 (DINO)", 224, 768, 1000, vit(12, 8)},
      {"vit_small_patch16_224_gap", "ViT-S/16, mean of the patches (timm, global_pool=avg)", 224, 384, 1000,
       vit_mean_pooling(6, 16)},
      {"vit_base_patch16_224_gap", "ViT-B/16, mean of the patches (timm, global_pool=avg)", 224, 768, 1000,
       vit_mean_pooling(12, 16)},
      {"vit_small_patch16_224_mocov3", "ViT-S/16 with 12 heads and sine positions (MoCo v3)", 224, 384, 1000,
       vit({.width = 384, .heads = 12, .sine_positions = true})},
      {"clip_rn50", "CLIP's ResNet-50 image tower (OpenAI)", 224, 1024, 0, clip_resnet(k50, 1024)},
      {"clip_rn101", "CLIP's ResNet-101 image tower (OpenAI)", 224, 512, 0, clip_resnet(k101, 512)},
      {"clip_vit_b32", "CLIP's ViT-B/32 image tower (OpenAI)", 224, 512, 0, clip_vit(32)},
      {"clip_vit_b16", "CLIP's ViT-B/16 image tower (OpenAI)", 224, 512, 0, clip_vit(16)},
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
