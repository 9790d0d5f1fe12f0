// Spells names as other libraries do. Libraries number the blocks of EfficientNets and MobileNets in different ways.
// Where stages begin and which blocks expand follows from the list of the network's tensors, so no rule depends on a
// model.
#include "formats/name_rules.h"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <map>
#include <optional>
#include <utility>

namespace coss {
namespace {

std::string joined(const std::vector<std::string>& parts, size_t from) {
  std::string text;
  for (size_t i = from; i < parts.size(); ++i) text += "." + parts[i];
  return text;
}

// Returns 3 for "conv3" with the stem "conv", and 0 for other names.
int numbered(const std::string& text, const std::string& stem) {
  const bool fits =
      text.size() == stem.size() + 1 && text.starts_with(stem) && std::isdigit(static_cast<unsigned char>(text.back()));
  return fits ? text.back() - '0' : 0;
}

// Returns -1 when the text is no number.
int number_of(const std::string& text) {
  const bool digits = !text.empty() && text.size() < 4 &&
                      std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isdigit(c); });
  return digits ? std::stoi(text) : -1;
}

std::string spelled_children(const std::string& name) {
  const std::vector<std::string> parts = name_parts(name);
  if (parts[0] == "conv1") return "0" + joined(parts, 1);
  if (parts[0] == "bn1") return "1" + joined(parts, 1);
  if (parts[0] == "fc") return name;
  const int stage = numbered(parts[0], "layer");
  return stage > 0 ? std::to_string(stage + 3) + joined(parts, 1) : "";  // 2 and 3 are relu and pooling
}

std::string spelled_simclr_v2(const std::string& name) {
  const std::vector<std::string> parts = name_parts(name);
  if (parts[0] == "conv1") return "net.0.0" + joined(parts, 1);
  if (parts[0] == "bn1") return "net.0.1.0" + joined(parts, 1);
  if (parts[0] == "fc") return name;
  const int stage = numbered(parts[0], "layer");
  if (stage == 0 || parts.size() < 4) return "";
  const std::string block = "net." + std::to_string(stage) + ".blocks." + parts[1];
  if (parts[2] == "downsample") {
    return block + (parts[3] == "0" ? ".projection.shortcut" : ".projection.bn.0") + joined(parts, 4);
  }
  const int conv = numbered(parts[2], "conv"), norm = numbered(parts[2], "bn");
  if (conv > 0) return block + ".net." + std::to_string(2 * conv - 2) + joined(parts, 3);
  if (norm > 0) return block + ".net." + std::to_string(2 * norm - 1) + ".0" + joined(parts, 3);
  return "";
}

enum class Family : uint8_t { none, efficientnet, mobilenet2, mobilenet3 };
enum class Part : uint8_t { stem, expand, depthwise, reduce, restore, project, last, hidden, classifier };

// An inverted bottleneck: groups of convolution and norm, and perhaps a squeeze-and-excitation between them.
struct Block {
  int groups = 0;          // counting the squeeze-and-excitation
  int squeeze = -1;        // index of the squeeze-and-excitation among the groups; -1: none
  int64_t width = 0;       // output channels
  int stage = 0, row = 0;  // the stage, and the block in its stage, from 0
  int number = 0;          // the block's index among all blocks

  bool expands() const { return groups - (squeeze >= 0) == 3; }
  // EfficientNetV2's early blocks join the expanding and the depthwise convolution, or have one convolution in all.
  bool fused() const { return squeeze < 0 && groups < 3; }
};

// Which part of an EfficientNet or MobileNet a tensor belongs to.
struct Piece {
  Part part;
  bool norm = false;
  const Block* block = nullptr;
  std::string leaf;  // ".weight"
};

// The structure of a network with torchvision's names: features.2.0.block.1.0 (EfficientNet), features.2.block.1.0
// (MobileNetV3), features.2.conv.1.0 (MobileNetV2, whose last group is not grouped: conv.2, conv.3).
class MobileNet {
 public:
  explicit MobileNet(const std::vector<WantedTensor>& wanted) {
    for (const WantedTensor& want : wanted) family_ = std::max(family_, family_of(name_parts(want.name)));
    if (family_ == Family::none) return;
    for (const WantedTensor& want : wanted) note(name_parts(want.name));
    for (const WantedTensor& want : wanted) note_width(want);
    number_blocks();
  }

  Family family() const { return family_; }
  int stages() const { return stages_; }
  std::optional<Piece> piece(const std::string& name) const;

 private:
  struct Spot {
    std::pair<int, int> block;
    int group;          // -1 for MobileNetV2's last
    std::string inner;  // "0" convolution, "1" norm, "fc1", "fc2"
    size_t leaf;        // where the rest of the name begins
  };

  static Family family_of(const std::vector<std::string>& parts) {
    if (parts.size() < 5 || parts[0] != "features") return Family::none;
    if (parts[3] == "block") return Family::efficientnet;
    return parts[2] == "block" ? Family::mobilenet3 : parts[2] == "conv" ? Family::mobilenet2 : Family::none;
  }
  std::optional<Spot> spot_of(const std::vector<std::string>& parts) const {
    if (family_of(parts) != family_) return std::nullopt;
    const size_t deeper = family_ == Family::efficientnet;
    Spot spot{{number_of(parts[1]), deeper ? number_of(parts[2]) : 0}, number_of(parts[3 + deeper]), "", 0};
    if (family_ == Family::mobilenet2 && parts.size() == 5) {
      spot.inner = parts[3];
      spot.group = -1;
      spot.leaf = 4;
    } else {
      if (parts.size() < 6 + deeper) return std::nullopt;
      spot.inner = parts[4 + deeper];
      spot.leaf = 5 + deeper;
    }
    return spot;
  }
  void note(const std::vector<std::string>& parts) {
    if (const auto spot = spot_of(parts)) {
      Block& block = blocks_[spot->block];
      // MobileNetV2's last two layers, conv.2 and conv.3, form one more group.
      block.groups = std::max(block.groups, spot->group + (family_ == Family::mobilenet2 ? 2 : 1));
      if (spot->inner == "fc1") block.squeeze = spot->group;
    } else if (parts[0] == "features" && parts.size() > 2) {
      last_ = std::max(last_, number_of(parts[1]));
    }
  }
  void note_width(const WantedTensor& want) {
    const std::optional<Piece> piece = this->piece(want.name);
    if (piece && piece->part == Part::project && !piece->norm && !want.shape.empty()) {
      blocks_[spot_of(name_parts(want.name))->block].width = want.shape[0];
    }
  }
  // An EfficientNet's names have the stages; in a MobileNet a stage is the blocks of one width.
  void number_blocks() {
    const Block* before = nullptr;
    int number = 0;
    for (auto& [at, block] : blocks_) {
      block.number = number++;
      if (family_ == Family::efficientnet) {
        block.stage = at.first - 1;
        block.row = at.second;
      } else if (before) {
        const bool same = before->width == block.width;
        block.stage = before->stage + !same;
        block.row = same ? before->row + 1 : 0;
      }
      stages_ = block.stage + 1;
      before = &block;
    }
  }

  Family family_ = Family::none;
  std::map<std::pair<int, int>, Block> blocks_;
  int last_ = 0;  // the index of the convolution behind all blocks
  int stages_ = 0;
};

std::optional<Piece> MobileNet::piece(const std::string& name) const {
  const std::vector<std::string> parts = name_parts(name);
  if (parts[0] == "classifier" && parts.size() == 3) {
    const bool hidden = family_ == Family::mobilenet3 && parts[1] == "0";
    return Piece{hidden ? Part::hidden : Part::classifier, false, nullptr, joined(parts, 2)};
  }
  if (const auto spot = spot_of(parts)) {
    const Block& block = blocks_.at(spot->block);
    Piece piece{Part::project, spot->inner == "1", &block, joined(parts, spot->leaf)};
    if (spot->group < 0) {
      piece.norm = number_of(spot->inner) == block.groups;
    } else if (spot->inner == "fc1" || spot->inner == "fc2") {
      piece.part = spot->inner == "fc1" ? Part::reduce : Part::restore;
    } else if (spot->group + 1 < block.groups) {
      piece.part = spot->group == 0 && block.expands() ? Part::expand : Part::depthwise;
    }
    return piece;
  }
  if (parts[0] != "features" || parts.size() != 4) return std::nullopt;
  const int index = number_of(parts[1]);
  if (index != 0 && index != last_) return std::nullopt;
  return Piece{index == 0 ? Part::stem : Part::last, parts[2] == "1", nullptr, joined(parts, 3)};
}

// A library's names for a part: for its convolution and for the norm after it.
struct Word {
  Part part;
  const char *convolution, *norm;
};
constexpr Word kTimm[] = {
    {Part::stem, "conv_stem", "bn1"},     {Part::expand, "conv_pw", "bn1"},      {Part::depthwise, "conv_dw", "bn2"},
    {Part::reduce, "se.conv_reduce", ""}, {Part::restore, "se.conv_expand", ""}, {Part::project, "conv_pwl", "bn3"},
    {Part::last, "conv_head", "bn2"},     {Part::hidden, "conv_head", ""},       {Part::classifier, "classifier", ""}};
constexpr Word kTimmUnexpanded[] = {{Part::depthwise, "conv_dw", "bn1"},
                                    {Part::reduce, "se.conv_reduce", ""},
                                    {Part::restore, "se.conv_expand", ""},
                                    {Part::project, "conv_pw", "bn2"}};
constexpr Word kTimmFused[] = {{Part::depthwise, "conv_exp", "bn1"}, {Part::project, "conv_pwl", "bn2"}};
constexpr Word kTimmSingle[] = {{Part::project, "conv", "bn1"}};
constexpr Word kLukemelas[] = {{Part::stem, "_conv_stem", "_bn0"},
                               {Part::expand, "_expand_conv", "_bn0"},
                               {Part::depthwise, "_depthwise_conv", "_bn1"},
                               {Part::reduce, "_se_reduce", ""},
                               {Part::restore, "_se_expand", ""},
                               {Part::project, "_project_conv", "_bn2"},
                               {Part::last, "_conv_head", "_bn1"},
                               {Part::classifier, "_fc", ""}};
// Here the indices count activations too.
constexpr Word kDli14[] = {{Part::stem, "features.0.0", "features.0.1"},
                           {Part::expand, "0", "1"},
                           {Part::depthwise, "3", "4"},
                           {Part::reduce, "5.fc.0", ""},
                           {Part::restore, "5.fc.2", ""},
                           {Part::project, "7", "8"},
                           {Part::last, "conv.0", "conv.1"},
                           {Part::hidden, "classifier.0", ""},
                           {Part::classifier, "classifier.3", ""}};
constexpr Word kDli14Unexpanded[] = {{Part::depthwise, "0", "1"},
                                     {Part::reduce, "3.fc.0", ""},
                                     {Part::restore, "3.fc.2", ""},
                                     {Part::project, "4", "5"}};

template <size_t kCount>
std::string word_of(const Word (&words)[kCount], const Piece& piece) {
  for (const Word& word : words) {
    if (word.part == piece.part) return piece.norm ? word.norm : word.convolution;
  }
  return "";
}

std::string timm_name(const MobileNet& network, const Piece& piece) {
  if (!piece.block) {
    if (piece.part == Part::last && network.family() == Family::mobilenet3) {
      return "blocks." + std::to_string(network.stages()) + ".0." + (piece.norm ? "bn1" : "conv");
    }
    return word_of(kTimm, piece);
  }
  const Block& block = *piece.block;
  const bool fused = network.family() == Family::efficientnet && block.fused();
  return "blocks." + std::to_string(block.stage) + "." + std::to_string(block.row) + "." +
         (block.expands()            ? word_of(kTimm, piece)
          : !fused                   ? word_of(kTimmUnexpanded, piece)
          : piece.block->groups == 1 ? word_of(kTimmSingle, piece)
                                     : word_of(kTimmFused, piece));
}

std::string lukemelas_name(const MobileNet& network, const Piece& piece) {
  if (network.family() != Family::efficientnet || (piece.block && piece.block->fused())) return "";
  return (piece.block ? "_blocks." + std::to_string(piece.block->number) + "." : "") + word_of(kLukemelas, piece);
}

std::string dli14_name(const MobileNet& network, const Piece& piece) {
  if (network.family() != Family::mobilenet3) return "";
  if (!piece.block) return word_of(kDli14, piece);
  return "features." + std::to_string(piece.block->number + 1) + ".conv." +
         (piece.block->expands() ? word_of(kDli14, piece) : word_of(kDli14Unexpanded, piece));
}

// timm's hidden layer of MobileNetV3 is a convolution; d-li14's squeeze-and-excitation is linear layers.
std::vector<int64_t> shape_of(NameRule rule, const Piece& piece, std::vector<int64_t> shape) {
  if (rule == NameRule::timm && piece.part == Part::hidden && shape.size() == 2) {
    shape.insert(shape.end(), 2, 1);
  }
  const bool linear = rule == NameRule::dli14 && (piece.part == Part::reduce || piece.part == Part::restore);
  if (linear && shape.size() == 4) shape.resize(2);
  return shape;
}

std::vector<WantedTensor> spelled_mobile(NameRule rule, std::vector<WantedTensor> wanted) {
  const MobileNet network(wanted);
  for (WantedTensor& want : wanted) {
    const std::optional<Piece> piece = network.family() == Family::none ? std::nullopt : network.piece(want.name);
    want.name.clear();
    if (!piece) continue;
    want.name = rule == NameRule::timm        ? timm_name(network, *piece)
                : rule == NameRule::lukemelas ? lukemelas_name(network, *piece)
                                              : dli14_name(network, *piece);
    if (!want.name.empty()) want.name += piece->leaf;
    want.shape = shape_of(rule, *piece, std::move(want.shape));
  }
  return wanted;
}

}  // namespace

std::vector<std::string> name_parts(const std::string& name) {
  std::vector<std::string> parts{""};
  for (char c : name) {
    if (c == '.') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

std::vector<WantedTensor> spelled(NameRule rule, const std::vector<WantedTensor>& wanted) {
  if (rule == NameRule::same) return wanted;
  if (rule != NameRule::children && rule != NameRule::simclr_v2) return spelled_mobile(rule, wanted);
  std::vector<WantedTensor> names = wanted;
  for (WantedTensor& want : names) {
    want.name = rule == NameRule::children ? spelled_children(want.name) : spelled_simclr_v2(want.name);
  }
  return names;
}

}  // namespace coss
