// The table of layouts: one line for each kind of published checkpoint.
#include <algorithm>

#include "formats/layouts.h"

namespace coss {
namespace {

constexpr Normalization kImagenet{};
// SwAV's evaluation script divides red by 0.228.
constexpr Normalization kSwav{{0.485f, 0.456f, 0.406f}, {0.228f, 0.224f, 0.225f}};
// SimCLR takes pixels in [0, 1] as they are.
constexpr Normalization kPlainPixels{{0, 0, 0}, {1, 1, 1}};
// CLIP's normalization; it also resizes with the bicubic filter.
constexpr Normalization kClip{{0.48145466f, 0.4578275f, 0.40821073f}, {0.26862954f, 0.26130258f, 0.27577711f}};

constexpr NameRule kSame = NameRule::same;

}  // namespace

const std::vector<Layout>& layouts() {
  static const std::vector<Layout> table{
      // name, source, container, prefix, head, mark, rule, normalization, interpolation
      {"mocov2", "MoCo v2", "state_dict", "encoder_q", "fc", "encoder_q.fc.2.weight", kSame, kImagenet},
      {"mocov1", "MoCo v1", "state_dict", "encoder_q", "fc", "", kSame, kImagenet},
      {"mocov3", "MoCo v3, its ViTs", "state_dict", "base_encoder", "head", "base_encoder.patch_embed.proj.weight",
       kSame, kImagenet},
      {"mocov3", "MoCo v3", "state_dict", "base_encoder", "fc", "", kSame, kImagenet},
      {"swav", "SwAV", "state_dict", "", "projection_head", "projection_head.0.weight", kSame, kSwav},
      {"simclr-v2", "SimCLR v2, converted by Separius", "resnet", "", "head.layers", "", NameRule::simclr_v2,
       kPlainPixels},
      {"simclr-v1", "SimCLR v1, converted by tonylins", "state_dict", "", "", nullptr, kSame, kPlainPixels},
      {"seed", "SimCLR as SEED reads it", "model", "", "", "module.module.module.", kSame, kImagenet},
      {"seed", "student of SEED", "state_dict", "student", "fc", "queue", kSame, kImagenet},
      {"seed", "student of SEED, an EfficientNet", "state_dict", "student", "_fc", "queue", NameRule::lukemelas,
       kImagenet},
      {"coss", "student of CoSS", "state_dict", "student", "fc", "", kSame, kImagenet},
      {"coss", "student of CoSS, an EfficientNet", "state_dict", "student", "_fc", "", NameRule::lukemelas, kImagenet},
      {"dino", "DINO, its teacher", "teacher", "backbone", "head", "", kSame, kImagenet},
      {"dino", "DINO, its student", "student", "backbone", "head", "", kSame, kImagenet},
      {"barlowtwins", "Barlow Twins", "model", "backbone", "projector", "bn.running_mean", kSame, kImagenet},
      {"vicreg", "VICReg", "model", "backbone", "projector", "projector.0.bias", kSame, kImagenet},
      {"byol", "BYOL by sthalles", "online_network_state_dict", "encoder", "projetion", "", NameRule::children,
       kImagenet},
      {"byol", "BYOL by yaox12", "online_backbone", "", "", "", kSame, kImagenet},
      {"lightly", "lightly", "state_dict", "backbone", "projection_head", "", NameRule::children, kImagenet},
      {"lightly", "lightly-train", "state_dict", "student_embedding_model", "", "", kSame, kImagenet},
      {"lightly", "lightly-train", "state_dict", "embedding_model", "", "", kSame, kImagenet},
      {"lightly", "lightly-train, timm's networks", "state_dict", "student_embedding_model", "", "", NameRule::timm,
       kImagenet},
      {"lightly", "lightly-train, timm's networks", "state_dict", "embedding_model", "", "", NameRule::timm, kImagenet},
      {"mmpretrain", "MMPretrain, MMSelfSup", "state_dict", "backbone", "neck", "neck.", kSame, kImagenet},
      {"solo", "solo-learn", "state_dict", "backbone", "projector", "", kSame, kImagenet},
      {"solo", "solo-learn, older", "state_dict", "encoder", "projector", "", kSame, kImagenet},
      {"vissl", "VISSL", "classy_state_dict.base_model.model", "trunk._feature_blocks", "", "", kSame, kImagenet},
      {"vissl", "VISSL, the trunk alone", "state_dict", "_feature_blocks", "", "", kSame, kImagenet},
      {"clip", "CLIP, its image tower", "state_dict", "visual", "", "", kSame, kClip, "bicubic"},
      {"lukemelas", "lukemelas' EfficientNets", "state_dict", "", "", "", NameRule::lukemelas, kImagenet},
      {"d-li14", "d-li14's MobileNetV3", "state_dict", "", "", "", NameRule::dli14, kImagenet},
      {"timm", "timm's EfficientNets and MobileNets", "state_dict", "", "", "", NameRule::timm, kImagenet},
      {"timm", "timm's ViTs", "state_dict", "", "", "patch_embed.proj.weight", kSame, kImagenet},
      // timm's ResNets have torchvision's names.
      {"torchvision", "torchvision, timm", "state_dict", "", "", "", kSame, kImagenet},
      {"torchvision", "own training scripts", "model", "", "", "", kSame, kImagenet},
      {"torchvision", "own training scripts", "model_state_dict", "", "", "", kSame, kImagenet},
      {"torchvision", "own training scripts", "net", "", "", "", kSame, kImagenet},
      {"torchvision", "own training scripts", "network", "", "", "", kSame, kImagenet},
      {"torchvision", "own training scripts", "resnet", "", "", "", kSame, kImagenet},
      {"torchvision", "own training scripts", "state_dict", "online_encoder", "", "", kSame, kImagenet},
      {"torchvision", "own training scripts", "state_dict", "model", "", "", kSame, kImagenet},
      {"torchvision", "own training scripts", "state_dict", "net", "", "", kSame, kImagenet},
  };
  return table;
}

std::vector<std::string> layout_names() {
  std::vector<std::string> names;
  for (const Layout& layout : layouts()) {
    if (std::find(names.begin(), names.end(), layout.name) == names.end()) names.push_back(layout.name);
  }
  return names;
}

}  // namespace coss
