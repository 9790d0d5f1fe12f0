// ShufflenetV1: stem, three stages of blocks whose 1x1 convolutions are grouped, mean over the image, linear
// classifier.
#include "models/shufflenet_v1.h"

#include "layers/conv_norm.h"
#include "models/classifier.h"

namespace coss {
namespace {

// Initial weights are scaled by the fan-in, as PyTorch's are. Scaled by the fan-out, depthwise weights would be so
// small that, with a norm behind them, their gradients were too big for usual learning rates.
ConvNormOptions conv_of(int64_t in, int64_t out, int64_t window, int64_t stride, Activation activation) {
  ConvNormOptions options = same_conv(in, out, window, stride, activation);
  options.fan = Fan::in;
  return options;
}

constexpr int64_t kGroups = 3, kStem = 24;
constexpr PoolParams kPool{.window = 3, .stride = 2, .pad = 1};

struct StageRow {
  int64_t channels, blocks;
};
constexpr StageRow kStages[] = {{240, 4}, {480, 8}, {960, 4}};

// Grouped 1x1 convolution to a quarter of the width, shuffle, 3x3 depthwise, grouped 1x1. The first block of a stage
// halves the image and appends the averaged input to its output; the other blocks add the input.
class Block {
 public:
  Block(const Scope& scope, int64_t in, int64_t out, bool halves, bool cifar) : halves_(halves) {
    const int64_t computed = halves ? out - in : out;
    const int64_t narrow = (cifar ? computed : out) / 4;
    groups_ = in == kStem ? 1 : kGroups;  // the stem is too narrow to be divided
    ConvNormOptions squeeze = conv_of(in, narrow, 1, 1, Activation::relu);
    squeeze.conv.groups = groups_;
    ConvNormOptions depthwise = conv_of(narrow, narrow, 3, halves ? 2 : 1, cifar ? Activation::relu : Activation::none);
    depthwise.conv.depthwise = true;
    ConvNormOptions expand = conv_of(narrow, computed, 1, 1, Activation::relu);
    expand.conv.groups = kGroups;
    squeeze_ = std::make_unique<ConvNorm>(scope, "conv1", "bn1", squeeze);
    depthwise_ = std::make_unique<ConvNorm>(scope, "conv2", "bn2", depthwise);
    expand_ = std::make_unique<ConvNorm>(scope, "conv3", "bn3", expand);
  }

  Var operator()(const Var& x, Mode mode) {
    Var y = (*squeeze_)(x, mode);
    if (groups_ > 1) y = shuffle_channels(y, groups_);
    y = (*depthwise_)(y, mode);
    if (!halves_) return (*expand_)(y, mode, x);
    // The ReLU behind the concatenation changes nothing in the second part, because x is not negative.
    return concat_channels({(*expand_)(y, mode), avg_pool(kPool, x)});
  }

  bool halves() const { return halves_; }

 private:
  bool halves_;
  int64_t groups_;
  std::unique_ptr<ConvNorm> squeeze_, depthwise_, expand_;
};

class ShufflenetV1 : public Network {
 public:
  ShufflenetV1(const Scope& scope, const ShufflenetV1Options& options)
      : pooled_stem_(!options.cifar),
        stem_(scope, "conv1", "bn1",
              options.cifar ? conv_of(3, kStem, 1, 1, Activation::relu) : conv_of(3, kStem, 3, 2, Activation::relu)) {
    int64_t width = kStem;
    int stage = 1;
    for (const StageRow& row : kStages) {
      const Scope stage_scope = scope / ("layer" + std::to_string(stage++));
      for (int64_t i = 0; i < row.blocks; ++i) {
        blocks_.push_back(
            std::make_unique<Block>(stage_scope / std::to_string(i), width, row.channels, i == 0, options.cifar));
        width = row.channels;
      }
    }
    feature_width = width;
    classes = options.classes;
    classifier_ = std::make_unique<Classifier>(scope, "linear", LinearOptions(width, classes));
  }

  Var features(const Var& images, Mode mode, const Tensor&, std::vector<Var>* stages) override {
    Var x = stem_(images, mode);
    if (pooled_stem_) x = max_pool(kPool, x);
    for (auto& block : blocks_) {
      if (stages && block->halves() && &block != &blocks_.front()) stages->push_back(x);
      x = (*block)(x, mode);
    }
    if (stages) stages->push_back(x);
    return mean_hw(x);
  }

  Var logits(const Var& features, Mode, const Tensor&) override { return (*classifier_)(features); }

 private:
  bool pooled_stem_;
  ConvNorm stem_;
  std::vector<std::unique_ptr<Block>> blocks_;
  std::unique_ptr<Classifier> classifier_;
};

}  // namespace

std::unique_ptr<Network> make_shufflenet_v1(const Scope& scope, const ShufflenetV1Options& options) {
  return std::make_unique<ShufflenetV1>(scope, options);
}

}  // namespace coss
