// ClipResnet: stem of three convolutions, four stages of bottlenecks, attention pooling.
#include <cmath>

#include "layers/conv_norm.h"
#include "layers/linear.h"
#include "models/classifier.h"
#include "models/clip.h"
#include "models/transformer.h"

namespace coss {
namespace {

constexpr PoolParams kHalve{.window = 2, .stride = 2, .pad = 0};

// In place of a stride of 2, the mean of 2x2 pixels is taken before the last convolution and before the shortcut's.
class Bottleneck {
 public:
  Bottleneck(const Scope& scope, int64_t in, int64_t width, int64_t stride)
      : pooled_(stride == 2),
        first_(scope, "conv1", "bn1", same_conv(in, width, 1, 1, Activation::relu)),
        second_(scope, "conv2", "bn2", same_conv(width, width, 3, 1, Activation::relu)),
        third_(scope, "conv3", "bn3", same_conv(width, 4 * width, 1, 1, Activation::relu)) {
    if (pooled_ || in != 4 * width)
      shortcut_ =
          std::make_unique<ConvNorm>(scope / "downsample", "0", "1", same_conv(in, 4 * width, 1, 1, Activation::none));
  }

  Var operator()(const Var& x, Mode mode) {
    Var y = second_(first_(x, mode), mode), shortcut = x;
    if (pooled_) y = avg_pool(kHalve, y), shortcut = avg_pool(kHalve, x);
    if (shortcut_) shortcut = (*shortcut_)(shortcut, mode);
    return third_(y, mode, shortcut);
  }

 private:
  bool pooled_;
  ConvNorm first_, second_, third_;
  std::unique_ptr<ConvNorm> shortcut_;
};

// Attention with one query, the mean of all pixels; keys and values are that mean and all pixels. The answer is the
// embedding.
class AttentionPool {
 public:
  AttentionPool(const Scope& scope, const ClipResnetOptions& options, int64_t width)
      : side_(options.image_size / 32),
        heads_(options.heads),
        key_(with_positions(scope, side_ * side_ + 1, width, &positions_), "k_proj", part(width)),
        query_(scope, "q_proj", part(width)),
        value_(scope, "v_proj", part(width)),
        out_(scope, "c_proj", LinearOptions(width, options.embedding)) {}

  Var operator()(const Var& x) const {
    const Var pixels = patches(1, x);  // (N,H,W,C) -> (N,HW,C)
    const Var tokens = join_tokens(mean_hw(x), pixels, positions_);
    const Var answer =
        attention({.heads = heads_, .queries = 1}, concat_channels({query_(tokens), key_(tokens), value_(tokens)}));
    return out_(mean_tokens(0, 1, answer));
  }

 private:
  static Init scaled(int64_t width) { return {Init::normal, 0, float(1 / std::sqrt(double(width)))}; }

  static LinearOptions part(int64_t width) {
    LinearOptions options(width, width);
    options.weight = scaled(width);
    return options;
  }

  static const Scope& with_positions(const Scope& scope, int64_t tokens, int64_t width, Var* positions) {
    scope.params().add_rest(scope.name("positional_embedding"), {tokens, width}, scaled(width), positions);
    return scope;
  }

  int64_t side_, heads_;
  Var positions_;
  Linear key_, query_, value_, out_;
};

ConvNormOptions stem(int64_t in, int64_t out, int64_t stride) {
  return same_conv(in, out, 3, stride, Activation::relu);
}

class ClipResnet : public Network {
 public:
  ClipResnet(const Scope& scope, const ClipResnetOptions& options)
      : options_(options),
        first_(scope, "conv1", "bn1", stem(3, options.width / 2, 2)),
        second_(scope, "conv2", "bn2", stem(options.width / 2, options.width / 2, 1)),
        third_(scope, "conv3", "bn3", stem(options.width / 2, options.width, 1)) {
    int64_t width = options.width;
    for (size_t stage = 0; stage < stages_.size(); ++stage) {
      const Scope stage_scope = scope / ("layer" + std::to_string(stage + 1));
      const int64_t middle = options.width << stage;
      for (int64_t i = 0; i < options.blocks[stage]; ++i) {
        const int64_t stride = i == 0 && stage > 0 ? 2 : 1;
        stages_[stage].push_back(std::make_unique<Bottleneck>(stage_scope / std::to_string(i), width, middle, stride));
        width = 4 * middle;
      }
    }
    pool_ = std::make_unique<AttentionPool>(scope / "attnpool", options, width);
    feature_width = options.embedding;
    classes = options.classes;
    classifier_ = std::make_unique<Classifier>(scope, "fc", LinearOptions(feature_width, classes));
  }

  Var features(const Var& images, Mode mode, const Tensor& step, std::vector<Var>* stages) override {
    if (mode == Mode::eval && Tape::active()) {
      const NoGrad frozen;
      return features(images, mode, step, stages);
    }
    check_image(images.shape(), options_.image_size);
    Var x = avg_pool(kHalve, third_(second_(first_(images, mode), mode), mode));
    for (auto& stage : stages_) {
      for (auto& block : stage) x = (*block)(x, mode);
      if (stages) stages->push_back(x);
    }
    return (*pool_)(x);
  }

  Var logits(const Var& features, Mode, const Tensor&) override { return (*classifier_)(features); }

 private:
  ClipResnetOptions options_;
  ConvNorm first_, second_, third_;
  std::array<std::vector<std::unique_ptr<Bottleneck>>, 4> stages_;
  std::unique_ptr<AttentionPool> pool_;
  std::unique_ptr<Classifier> classifier_;
};

}  // namespace

std::unique_ptr<Network> make_clip_resnet(const Scope& scope, const ClipResnetOptions& options) {
  COSS_CHECK(options.image_size % 32 == 0,
             "[clip] the image size must be a multiple of 32, not " + std::to_string(options.image_size));
  return std::make_unique<ClipResnet>(scope, options);
}

}  // namespace coss
