// Resnet: stem, four stages of residual blocks, mean over the image, linear classifier.
#include "models/resnet.h"

#include "layers/conv_norm.h"
#include "models/classifier.h"

namespace coss {
namespace {

struct BlockWidths {
  int64_t in, middle, out, stride, groups;
};

ConvNormOptions window3(const BlockWidths& w, int64_t in, int64_t stride) {
  ConvNormOptions options = same_conv(in, w.middle, 3, stride, Activation::relu);
  options.conv.groups = w.groups;
  return options;
}

// conv1 … conv2 (basic) or conv1 … conv3 (bottleneck); the last adds the shortcut before its activation.
class Block {
 public:
  Block(const Scope& scope, const BlockWidths& w, bool bottleneck)
      : first_(scope, "conv1", "bn1",
               bottleneck ? same_conv(w.in, w.middle, 1, 1, Activation::relu) : window3(w, w.in, w.stride)),
        second_(scope, "conv2", "bn2", window3(w, w.middle, bottleneck ? w.stride : 1)) {
    if (bottleneck)
      third_ = std::make_unique<ConvNorm>(scope, "conv3", "bn3", same_conv(w.middle, w.out, 1, 1, Activation::relu));
    if (w.stride != 1 || w.in != w.out)
      shortcut_ = std::make_unique<ConvNorm>(scope / "downsample", "0", "1",
                                             same_conv(w.in, w.out, 1, w.stride, Activation::none));
  }

  Var operator()(const Var& x, Mode mode) {
    Var y = first_(x, mode);
    if (third_) y = second_(y, mode);
    const Var shortcut = shortcut_ ? (*shortcut_)(x, mode) : x;
    return third_ ? (*third_)(y, mode, shortcut) : second_(y, mode, shortcut);
  }

 private:
  ConvNorm first_, second_;
  std::unique_ptr<ConvNorm> third_, shortcut_;
};

constexpr PoolParams kStemPool{.window = 3, .stride = 2, .pad = 1};

ConvNormOptions stem(const ResnetOptions& options) {
  const int64_t width = 64 * options.widen;
  if (!options.cifar_stem) return same_conv(3, width, 7, 2, Activation::relu);
  ConvNormOptions small = same_conv(3, width, 3, 1, Activation::relu);
  small.conv.pad = 2;
  return small;
}

class Resnet : public Network {
 public:
  Resnet(const Scope& scope, const ResnetOptions& options)
      : pooled_stem_(!options.cifar_stem), stem_(scope, "conv1", "bn1", stem(options)) {
    int64_t width = 64 * options.widen;
    for (size_t stage = 0; stage < 4; ++stage) {
      const Scope stage_scope = scope / ("layer" + std::to_string(stage + 1));
      const int64_t base = (64 * options.widen) << stage;
      const int64_t middle = options.bottleneck ? base * options.group_width / 64 * options.groups : base;
      for (int64_t i = 0; i < options.blocks[stage]; ++i) {
        const BlockWidths widths{.in = width,
                                 .middle = middle,
                                 .out = options.bottleneck ? base * 4 : base,
                                 .stride = i == 0 && stage > 0 ? 2 : 1,
                                 .groups = options.groups};
        stages_[stage].push_back(std::make_unique<Block>(stage_scope / std::to_string(i), widths, options.bottleneck));
        width = widths.out;
      }
    }
    feature_width = width;
    classes = options.classes;
    classifier_ = std::make_unique<Classifier>(scope, "fc", LinearOptions(width, classes));
  }

  Var features(const Var& images, Mode mode, const Tensor&, std::vector<Var>* stages) override {
    Var x = stem_(images, mode);
    if (pooled_stem_) x = max_pool(kStemPool, x);
    for (auto& stage : stages_) {
      for (auto& block : stage) x = (*block)(x, mode);
      if (stages) stages->push_back(x);
    }
    return mean_hw(x);
  }

  Var logits(const Var& features, Mode, const Tensor&) override { return (*classifier_)(features); }

 private:
  bool pooled_stem_;
  ConvNorm stem_;
  std::array<std::vector<std::unique_ptr<Block>>, 4> stages_;
  std::unique_ptr<Classifier> classifier_;
};

}  // namespace

std::unique_ptr<Network> make_resnet(const Scope& scope, const ResnetOptions& options) {
  return std::make_unique<Resnet>(scope, options);
}

}  // namespace coss
