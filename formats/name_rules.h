// Name rules: how libraries spell the names of one network's parameters, and which shapes the tensors have there.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace coss {

// A tensor that the network wants, with its name and shape in PyTorch. A size of -1 fits any (the classes of a
// classifier).
struct WantedTensor {
  std::string name;
  std::vector<int64_t> shape;
  bool optional = false;
};

// How a layout spells the names of a network's parameters.
enum class NameRule : uint8_t {
  same,      // as coss does: torchvision's names, or timm's or CLIP's for what torchvision lacks: layer1.0.conv1.weight
  children,  // a Sequential of torchvision's children: 4.0.conv1.weight
  simclr_v2,  // net.1.blocks.0.net.0.weight
  timm,       // EfficientNet, MobileNetV2 and V3: blocks.0.0.conv_dw.weight
  lukemelas,  // EfficientNet: _blocks.0._depthwise_conv.weight
  dli14,      // MobileNetV3: features.1.conv.0.weight
};

inline constexpr NameRule kNameRules[] = {NameRule::same, NameRule::children,  NameRule::simclr_v2,
                                          NameRule::timm, NameRule::lukemelas, NameRule::dli14};

// The tensors of a network, in the same order, as `rule` spells them; a name is empty where the rule has none.
std::vector<WantedTensor> spelled(NameRule rule, const std::vector<WantedTensor>& wanted);

// "layer3.4.conv2.weight" -> {"layer3", "4", "conv2", "weight"}
std::vector<std::string> name_parts(const std::string& name);

}  // namespace coss
