// ShufflenetV2: stem, three stages of blocks that work on half of the channels, a 1x1 convolution, mean over the image,
// linear classifier.
#include "models/shufflenet_v2.h"

#include <array>

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

constexpr int64_t kStem = 24;
constexpr std::array<int64_t, 3> kRepeats{3, 7, 3};  // blocks of a stage behind its first
constexpr PoolParams kPool{.window = 3, .stride = 2, .pad = 1};

// How the two libraries name a convolution and its norm: torchvision by branch and index, RepDistiller by the layer's
// number in the block.
struct Named {
  const char* branch;
  int index, number;
};

std::unique_ptr<ConvNorm> layer(const Scope& scope, bool cifar, const Named& name, const ConvNormOptions& options) {
  if (!cifar)
    return std::make_unique<ConvNorm>(scope / name.branch, std::to_string(name.index), std::to_string(name.index + 1),
                                      options);
  const std::string number = std::to_string(name.number);
  return std::make_unique<ConvNorm>(scope, "conv" + number, "bn" + number, options);
}

ConvNormOptions depthwise(int64_t channels, int64_t stride) {
  ConvNormOptions options = conv_of(channels, channels, 3, stride, Activation::none);
  options.conv.depthwise = true;
  return options;
}

// One half of the channels stays as it is, the other goes through 1x1, 3x3 depthwise and 1x1 convolutions. The first
// block of a stage halves the image; there all channels go through both branches, and each gives half of the output.
class Block {
 public:
  Block(const Scope& scope, int64_t in, int64_t out, bool halves, bool cifar) : half_(out / 2), halves_(halves) {
    const int64_t stride = halves ? 2 : 1;
    const int before = halves ? 2 : 0;  // how many layers of the other branch are numbered before
    const ConvNormOptions shrink = conv_of(halves ? in : half_, half_, 1, 1, Activation::relu);
    if (halves) {
      side_depthwise_ = layer(scope, cifar, {"branch1", 0, 1}, depthwise(in, 2));
      side_pointwise_ = layer(scope, cifar, {"branch1", 2, 2}, shrink);
    }
    first_ = layer(scope, cifar, {"branch2", 0, before + 1}, shrink);
    depthwise_ = layer(scope, cifar, {"branch2", 3, before + 2}, depthwise(half_, stride));
    second_ = layer(scope, cifar, {"branch2", 5, before + 3}, conv_of(half_, half_, 1, 1, Activation::relu));
  }

  Var operator()(const Var& x, Mode mode) {
    const Var side = halves_ ? (*side_pointwise_)((*side_depthwise_)(x, mode), mode) : slice_channels(x, 0, half_);
    Var y = halves_ ? x : slice_channels(x, half_, half_);
    y = (*second_)((*depthwise_)((*first_)(y, mode), mode), mode);
    return shuffle_channels(concat_channels({side, y}), 2);
  }

  bool halves() const { return halves_; }

 private:
  int64_t half_;
  bool halves_;
  std::unique_ptr<ConvNorm> side_depthwise_, side_pointwise_, first_, depthwise_, second_;
};

class ShufflenetV2 : public Network {
 public:
  ShufflenetV2(const Scope& scope, const ShufflenetV2Options& options) : pooled_stem_(!options.cifar) {
    const bool cifar = options.cifar;
    if (cifar)
      stem_ = std::make_unique<ConvNorm>(scope, "conv1", "bn1", conv_of(3, kStem, 1, 1, Activation::relu));
    else
      stem_ = std::make_unique<ConvNorm>(scope / "conv1", "0", "1", conv_of(3, kStem, 3, 2, Activation::relu));
    int64_t width = kStem;
    for (size_t stage = 0; stage < kRepeats.size(); ++stage) {
      const Scope stage_scope = scope / ((cifar ? "layer" : "stage") + std::to_string(stage + (cifar ? 1 : 2)));
      const int64_t out = options.width << stage;
      const int64_t blocks = kRepeats[stage] + 1;
      for (int64_t i = 0; i < blocks; ++i) {
        blocks_.push_back(std::make_unique<Block>(stage_scope / std::to_string(i), width, out, i == 0, cifar));
        width = out;
      }
    }
    const ConvNormOptions last = conv_of(width, options.last, 1, 1, Activation::relu);
    last_ = cifar ? std::make_unique<ConvNorm>(scope, "conv2", "bn2", last)
                  : std::make_unique<ConvNorm>(scope / "conv5", "0", "1", last);
    feature_width = options.last;
    classes = options.classes;
    classifier_ = std::make_unique<Classifier>(scope, cifar ? "linear" : "fc", LinearOptions(feature_width, classes));
  }

  // There are three stages; the third is the output of the last convolution.
  Var features(const Var& images, Mode mode, const Tensor&, std::vector<Var>* stages) override {
    Var x = (*stem_)(images, mode);
    if (pooled_stem_) x = max_pool(kPool, x);
    for (auto& block : blocks_) {
      if (stages && block->halves() && &block != &blocks_.front()) stages->push_back(x);
      x = (*block)(x, mode);
    }
    x = (*last_)(x, mode);
    if (stages) stages->push_back(x);
    return mean_hw(x);
  }

  Var logits(const Var& features, Mode, const Tensor&) override { return (*classifier_)(features); }

 private:
  bool pooled_stem_;
  std::unique_ptr<ConvNorm> stem_, last_;
  std::vector<std::unique_ptr<Block>> blocks_;
  std::unique_ptr<Classifier> classifier_;
};

}  // namespace

std::unique_ptr<Network> make_shufflenet_v2(const Scope& scope, const ShufflenetV2Options& options) {
  return std::make_unique<ShufflenetV2>(scope, options);
}

}  // namespace coss
