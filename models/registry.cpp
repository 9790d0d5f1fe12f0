// The table of models.
#include <type_traits>

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
// Widths of stem and stages of the distillation literature's wide CIFAR ResNets.
constexpr Four kWide{32, 64, 128, 256};

// torchvision gives TensorFlow's norm parameters to the networks whose weights come from there; ports of TensorFlow's
// networks have its padding as well.
constexpr Numerics kTensorflowNorms{.eps = 1e-3f, .momentum = 0.01f};
constexpr Numerics kTensorflow{.eps = 1e-3f, .momentum = 0.01f, .same_padding = true};
constexpr Numerics kEfficientnetV2{.eps = 1e-3f};   // torchvision's
constexpr Numerics kGateFirst{.gate_first = true};  // d-li14's

// Makes a row of the table. `make` builds the network from `options`; the image size in them is the row's, the number
// of classes the caller's. The row shows the options' numerics, if they have any.
template <class Options>
ModelInfo row(const char* name, const char* description, int64_t image_size, int64_t feature_width, int64_t classes,
              std::unique_ptr<Network> (*make)(const Scope&, const Options&), std::type_identity_t<Options> options,
              const VariantOf& variant_of = {}) {
  if constexpr (requires { options.image_size; }) options.image_size = image_size;
  std::optional<Numerics> numerics;
  if constexpr (requires { options.numerics; }) numerics = options.numerics;
  const auto with_classes = [make, options](const Scope& scope, int64_t count) {
    Options all = options;
    all.classes = count;
    return make(scope, all);
  };
  return {name, description, image_size, feature_width, classes, with_classes, numerics, variant_of};
}

}  // namespace

const std::vector<ModelInfo>& models() {
  static const std::vector<ModelInfo> table{
      // name, description, image size, feature width, classes, builder, its options; whose variant it is
      row("resnet18", "ResNet-18 (torchvision)", 224, 512, 1000, make_resnet, {.blocks = k18}),
      row("resnet34", "ResNet-34 (torchvision)", 224, 512, 1000, make_resnet, {.blocks = k34}),
      row("resnet50", "ResNet-50 v1.5 (torchvision)", 224, 2048, 1000, make_resnet,
          {.blocks = k50, .bottleneck = true}),
      row("resnet101", "ResNet-101 v1.5 (torchvision)", 224, 2048, 1000, make_resnet,
          {.blocks = k101, .bottleneck = true}),
      row("resnet152", "ResNet-152 v1.5 (torchvision)", 224, 2048, 1000, make_resnet,
          {.blocks = k152, .bottleneck = true}),
      row("resnet50w2", "ResNet-50, all widths x2 (SimCLR, SwAV)", 224, 4096, 1000, make_resnet,
          {.blocks = k50, .bottleneck = true, .widen = 2}),
      row("resnet50w4", "ResNet-50, all widths x4 (SimCLR, SwAV)", 224, 8192, 1000, make_resnet,
          {.blocks = k50, .bottleneck = true, .widen = 4}),
      row("resnet50w5", "ResNet-50, all widths x5 (SwAV)", 224, 10240, 1000, make_resnet,
          {.blocks = k50, .bottleneck = true, .widen = 5}),
      row("wide_resnet50_2", "ResNet-50, bottlenecks x2 (torchvision)", 224, 2048, 1000, make_resnet,
          {.blocks = k50, .bottleneck = true, .group_width = 128}),
      row("wide_resnet101_2", "ResNet-101, bottlenecks x2 (torchvision)", 224, 2048, 1000, make_resnet,
          {.blocks = k101, .bottleneck = true, .group_width = 128}),
      row("resnext50_32x4d", "ResNeXt-50 32x4d (torchvision)", 224, 2048, 1000, make_resnet,
          {.blocks = k50, .bottleneck = true, .groups = 32, .group_width = 4}),
      row("resnext101_32x8d", "ResNeXt-101 32x8d (torchvision)", 224, 2048, 1000, make_resnet,
          {.blocks = k101, .bottleneck = true, .groups = 32, .group_width = 8}),
      row("resnet18_cifar_stem", "ResNet-18, 3x3 stem without pooling (solo-learn)", 32, 512, 10, make_resnet,
          {.blocks = k18, .cifar_stem = true}),
      row("resnet34_cifar_stem", "ResNet-34, 3x3 stem without pooling (solo-learn)", 32, 512, 10, make_resnet,
          {.blocks = k34, .cifar_stem = true}),
      row("resnet50_cifar_stem", "ResNet-50, 3x3 stem without pooling (solo-learn)", 32, 2048, 10, make_resnet,
          {.blocks = k50, .bottleneck = true, .cifar_stem = true}),
      row("resnet20_cifar", "CIFAR ResNet-20, option-A shortcuts", 32, 64, 10, make_resnet_cifar, {.blocks = 3}),
      row("resnet32_cifar", "CIFAR ResNet-32, option-A shortcuts", 32, 64, 10, make_resnet_cifar, {.blocks = 5}),
      row("resnet44_cifar", "CIFAR ResNet-44, option-A shortcuts", 32, 64, 10, make_resnet_cifar, {.blocks = 7}),
      row("resnet56_cifar", "CIFAR ResNet-56, option-A shortcuts", 32, 64, 10, make_resnet_cifar, {.blocks = 9}),
      row("resnet110_cifar", "CIFAR ResNet-110, option-A shortcuts", 32, 64, 10, make_resnet_cifar, {.blocks = 18}),
      row("resnet8_rd", "CIFAR ResNet-8, 1x1 shortcuts (RepDistiller resnet8)", 32, 64, 100, make_resnet_cifar,
          {.blocks = 1, .projections = true}),
      row("resnet14_rd", "CIFAR ResNet-14, 1x1 shortcuts (RepDistiller resnet14)", 32, 64, 100, make_resnet_cifar,
          {.blocks = 2, .projections = true}),
      row("resnet20_rd", "CIFAR ResNet-20, 1x1 shortcuts (RepDistiller resnet20)", 32, 64, 100, make_resnet_cifar,
          {.blocks = 3, .projections = true}),
      row("resnet32_rd", "CIFAR ResNet-32, 1x1 shortcuts (RepDistiller resnet32)", 32, 64, 100, make_resnet_cifar,
          {.blocks = 5, .projections = true}),
      row("resnet44_rd", "CIFAR ResNet-44, 1x1 shortcuts (RepDistiller resnet44)", 32, 64, 100, make_resnet_cifar,
          {.blocks = 7, .projections = true}),
      row("resnet56_rd", "CIFAR ResNet-56, 1x1 shortcuts (RepDistiller resnet56)", 32, 64, 100, make_resnet_cifar,
          {.blocks = 9, .projections = true}),
      row("resnet110_rd", "CIFAR ResNet-110, 1x1 shortcuts (RepDistiller resnet110)", 32, 64, 100, make_resnet_cifar,
          {.blocks = 18, .projections = true}),
      row("resnet8x4", "CIFAR ResNet-8, 4 times as wide (RepDistiller)", 32, 256, 100, make_resnet_cifar,
          {.blocks = 1, .projections = true, .widths = kWide}),
      row("resnet32x4", "CIFAR ResNet-32, 4 times as wide (RepDistiller)", 32, 256, 100, make_resnet_cifar,
          {.blocks = 5, .projections = true, .widths = kWide}),
      row("wrn_16_1", "CIFAR WideResNet-16-1 (RepDistiller)", 32, 64, 100, make_wrn, {.depth = 16, .widen = 1}),
      row("wrn_16_2", "CIFAR WideResNet-16-2 (RepDistiller)", 32, 128, 100, make_wrn, {.depth = 16, .widen = 2}),
      row("wrn_40_1", "CIFAR WideResNet-40-1 (RepDistiller)", 32, 64, 100, make_wrn, {.depth = 40, .widen = 1}),
      row("wrn_40_2", "CIFAR WideResNet-40-2 (RepDistiller)", 32, 128, 100, make_wrn, {.depth = 40, .widen = 2}),
      row("vgg8_cifar", "CIFAR VGG-8 with batch norm (RepDistiller vgg8)", 32, 512, 100, make_vgg_cifar,
          {.convolutions = 1}),
      row("vgg13_cifar", "CIFAR VGG-13 with batch norm (RepDistiller vgg13)", 32, 512, 100, make_vgg_cifar,
          {.convolutions = 2}),
      row("mobilenet_v2", "MobileNetV2 (torchvision)", 224, 1280, 1000, make_mobilenet_v2, {}),
      row("efficientnet_b0", "EfficientNet-B0 (torchvision, timm)", 224, 1280, 1000, make_efficientnet, {.size = 0}),
      row("efficientnet_b1", "EfficientNet-B1 (torchvision, timm)", 240, 1280, 1000, make_efficientnet, {.size = 1}),
      row("efficientnet_b2", "EfficientNet-B2 (torchvision, timm)", 288, 1408, 1000, make_efficientnet, {.size = 2}),
      row("efficientnet_b3", "EfficientNet-B3 (torchvision, timm)", 300, 1536, 1000, make_efficientnet, {.size = 3}),
      row("efficientnet_b4", "EfficientNet-B4 (torchvision, timm)", 380, 1792, 1000, make_efficientnet, {.size = 4}),
      row("efficientnet_b5", "EfficientNet-B5 (torchvision)", 456, 2048, 1000, make_efficientnet,
          {.size = 5, .numerics = kTensorflowNorms}),
      row("efficientnet_b6", "EfficientNet-B6 (torchvision)", 528, 2304, 1000, make_efficientnet,
          {.size = 6, .numerics = kTensorflowNorms}),
      row("efficientnet_b7", "EfficientNet-B7 (torchvision)", 600, 2560, 1000, make_efficientnet,
          {.size = 7, .numerics = kTensorflowNorms}),
      row("tf_efficientnet_b0", "EfficientNet-B0 with SAME padding (timm, lukemelas)", 224, 1280, 1000,
          make_efficientnet, {.size = 0, .numerics = kTensorflow}, {"efficientnet_b0", "lukemelas"}),
      row("tf_efficientnet_b1", "EfficientNet-B1 with SAME padding (timm, lukemelas)", 240, 1280, 1000,
          make_efficientnet, {.size = 1, .numerics = kTensorflow}, {"efficientnet_b1", "lukemelas"}),
      row("tf_efficientnet_b2", "EfficientNet-B2 with SAME padding (timm, lukemelas)", 260, 1408, 1000,
          make_efficientnet, {.size = 2, .numerics = kTensorflow}, {"efficientnet_b2", "lukemelas"}),
      row("tf_efficientnet_b3", "EfficientNet-B3 with SAME padding (timm, lukemelas)", 300, 1536, 1000,
          make_efficientnet, {.size = 3, .numerics = kTensorflow}, {"efficientnet_b3", "lukemelas"}),
      row("tf_efficientnet_b4", "EfficientNet-B4 with SAME padding (timm, lukemelas)", 380, 1792, 1000,
          make_efficientnet, {.size = 4, .numerics = kTensorflow}, {"efficientnet_b4", "lukemelas"}),
      row("tf_efficientnet_b5", "EfficientNet-B5 with SAME padding (timm, lukemelas)", 456, 2048, 1000,
          make_efficientnet, {.size = 5, .numerics = kTensorflow}, {"efficientnet_b5", "lukemelas"}),
      row("tf_efficientnet_b6", "EfficientNet-B6 with SAME padding (timm, lukemelas)", 528, 2304, 1000,
          make_efficientnet, {.size = 6, .numerics = kTensorflow}, {"efficientnet_b6", "lukemelas"}),
      row("tf_efficientnet_b7", "EfficientNet-B7 with SAME padding (timm, lukemelas)", 600, 2560, 1000,
          make_efficientnet, {.size = 7, .numerics = kTensorflow}, {"efficientnet_b7", "lukemelas"}),
      row("efficientnet_v2_s", "EfficientNetV2-S (torchvision)", 384, 1280, 1000, make_efficientnet,
          {.size = kEfficientnetV2S, .numerics = kEfficientnetV2}),
      row("efficientnet_v2_m", "EfficientNetV2-M (torchvision)", 480, 1280, 1000, make_efficientnet,
          {.size = kEfficientnetV2M, .numerics = kEfficientnetV2}),
      row("efficientnet_v2_l", "EfficientNetV2-L (torchvision)", 480, 1280, 1000, make_efficientnet,
          {.size = kEfficientnetV2L, .numerics = kEfficientnetV2}),
      row("squeezenet1_1", "SqueezeNet 1.1, its convolutions alone (torchvision)", 224, 512, 0, make_squeezenet, {}),
      row("mobilenet_v3_small", "MobileNetV3 small (torchvision)", 224, 576, 1000, make_mobilenet_v3,
          {.numerics = kTensorflowNorms}),
      row("mobilenetv3_small_100", "MobileNetV3 small (timm)", 224, 576, 1000, make_mobilenet_v3, {},
          {"mobilenet_v3_small", "timm"}),
      row("mobilenet_v3_small_dli14", "MobileNetV3 small, squeeze-and-excitation first (d-li14)", 224, 576, 1000,
          make_mobilenet_v3, {.numerics = kGateFirst}, {"mobilenet_v3_small", "d-li14"}),
      row("mobilenet_v3_large", "MobileNetV3 large (torchvision)", 224, 960, 1000, make_mobilenet_v3,
          {.large = true, .numerics = kTensorflowNorms}),
      row("mobilenetv3_large_100", "MobileNetV3 large (timm)", 224, 960, 1000, make_mobilenet_v3, {.large = true},
          {"mobilenet_v3_large", "timm"}),
      row("mobilenet_v3_large_dli14", "MobileNetV3 large, squeeze-and-excitation first (d-li14)", 224, 960, 1000,
          make_mobilenet_v3, {.large = true, .numerics = kGateFirst}, {"mobilenet_v3_large", "d-li14"}),
      row("shufflenet_v2_x0_5", "ShuffleNetV2 x0.5 (torchvision)", 224, 1024, 1000, make_shufflenet_v2,
          {.width = 48, .last = 1024}),
      row("shufflenet_v2_x1_0", "ShuffleNetV2 x1.0 (torchvision)", 224, 1024, 1000, make_shufflenet_v2,
          {.width = 116, .last = 1024}),
      row("shufflenet_v2_x1_5", "ShuffleNetV2 x1.5 (torchvision)", 224, 1024, 1000, make_shufflenet_v2,
          {.width = 176, .last = 1024}),
      row("shufflenet_v2_x2_0", "ShuffleNetV2 x2.0 (torchvision)", 224, 2048, 1000, make_shufflenet_v2,
          {.width = 244, .last = 2048}),
      row("shufflenet_v1", "ShuffleNetV1, three groups (arXiv 1707.01083)", 224, 960, 1000, make_shufflenet_v1, {}),
      row("shufflenet_v1_cifar", "CIFAR ShuffleNetV1 (RepDistiller ShuffleV1)", 32, 960, 100, make_shufflenet_v1,
          {.cifar = true}),
      row("shufflenet_v2_cifar", "CIFAR ShuffleNetV2 (RepDistiller ShuffleV2)", 32, 1024, 100, make_shufflenet_v2,
          {.width = 116, .last = 1024, .cifar = true}),
      row("mobilenet_v2_cifar", "CIFAR MobileNetV2, half as wide (RepDistiller MobileNetV2)", 32, 1280, 100,
          make_mobilenet_v2_cifar, {}),
      row("vit_tiny_patch16_224", "ViT-Ti/16 (timm)", 224, 192, 1000, make_vit,
          {.width = 192, .heads = 3, .patch = 16}),
      row("vit_tiny_patch32_224", "ViT-Ti/32 (timm's names)", 224, 192, 1000, make_vit,
          {.width = 192, .heads = 3, .patch = 32}),
      row("vit_small_patch16_224", "ViT-S/16 (timm, DINO)", 224, 384, 1000, make_vit,
          {.width = 384, .heads = 6, .patch = 16}),
      row("vit_small_patch32_224", "ViT-S/32 (timm)", 224, 384, 1000, make_vit,
          {.width = 384, .heads = 6, .patch = 32}),
      row("vit_base_patch16_224", "ViT-B/16 (timm, DINO, MoCo v3)", 224, 768, 1000, make_vit,
          {.width = 768, .heads = 12, .patch = 16}),
      row("vit_base_patch32_224", "ViT-B/32 (timm)", 224, 768, 1000, make_vit,
          {.width = 768, .heads = 12, .patch = 32}),
      row("vit_small_patch8_224", "ViT-S/8 (DINO)", 224, 384, 1000, make_vit, {.width = 384, .heads = 6, .patch = 8}),
      row("vit_base_patch8_224", "ViT-B/8 (DINO)", 224, 768, 1000, make_vit, {.width = 768, .heads = 12, .patch = 8}),
      row("vit_small_patch16_224_gap", "ViT-S/16, mean of the patches (timm, global_pool=avg)", 224, 384, 1000,
          make_vit, {.width = 384, .heads = 6, .patch = 16, .mean_pooling = true}),
      row("vit_base_patch16_224_gap", "ViT-B/16, mean of the patches (timm, global_pool=avg)", 224, 768, 1000, make_vit,
          {.width = 768, .heads = 12, .patch = 16, .mean_pooling = true}),
      row("vit_small_patch16_224_mocov3", "ViT-S/16 with 12 heads and sine positions (MoCo v3)", 224, 384, 1000,
          make_vit, {.width = 384, .heads = 12, .sine_positions = true}, {"vit_small_patch16_224", "mocov3"}),
      row("clip_rn50", "CLIP's ResNet-50 image tower (OpenAI)", 224, 1024, 0, make_clip_resnet,
          {.blocks = k50, .embedding = 1024}),
      row("clip_rn101", "CLIP's ResNet-101 image tower (OpenAI)", 224, 512, 0, make_clip_resnet,
          {.blocks = k101, .embedding = 512}),
      row("clip_vit_b32", "CLIP's ViT-B/32 image tower (OpenAI)", 224, 512, 0, make_clip_vit, {.patch = 32}),
      row("clip_vit_b16", "CLIP's ViT-B/16 image tower (OpenAI)", 224, 512, 0, make_clip_vit, {.patch = 16}),
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

std::string variant_for(const std::string& model, const std::string& layout) {
  for (const ModelInfo& other : models())
    if (model == other.variant_of.model && layout == other.variant_of.layout) return other.name;
  return model;
}

}  // namespace coss
