// Wrn: stem, three stages of pre-activation blocks, a last norm, mean over the image, linear classifier.
#include "models/wrn.h"

#include <array>

#include "layers/conv_norm.h"
#include "layers/norm.h"
#include "models/classifier.h"

namespace coss {
namespace {

constexpr NormParams kRelu{.activation = Activation::relu};

ConvOptions conv(int64_t in, int64_t out, int64_t window, int64_t stride) {
  return {.in = in, .out = out, .window = window, .conv = {.stride = stride, .pad = window / 2}};
}

// x + conv2(relu(bn2(conv1(relu(bn1(x)))))). If the width changes, a 1x1 convolution of relu(bn1(x)) is added in place
// of x.
class Block {
 public:
  Block(const Scope& scope, int64_t in, int64_t out, int64_t stride)
      : before_(scope, "bn1", in, kRelu),
        first_(scope, "conv1", "bn2", same_conv(in, out, 3, stride, Activation::relu)),
        second_(scope, "conv2", conv(out, out, 3, 1)) {
    if (in != out) shortcut_ = std::make_unique<Conv>(scope, "convShortcut", conv(in, out, 1, stride));
  }

  Var operator()(const Var& x, Mode mode) {
    const Var normed = before_(x, mode);
    const Var y = first_(normed, mode);
    return second_(y, mode, shortcut_ ? (*shortcut_)(normed, mode) : x);
  }

 private:
  Norm before_;
  ConvNorm first_;
  Conv second_;
  std::unique_ptr<Conv> shortcut_;
};

constexpr int64_t kStem = 16;

class Wrn : public Network {
 public:
  Wrn(const Scope& scope, const WrnOptions& options) : stem_(scope, "conv1", conv(3, kStem, 3, 1)) {
    COSS_ASSERT((options.depth - 4) % 6 == 0);
    int64_t width = kStem;
    for (size_t stage = 0; stage < 3; ++stage) {
      const Scope stage_scope = scope / ("block" + std::to_string(stage + 1)) / "layer";
      const int64_t out = (kStem * options.widen) << stage;
      for (int64_t i = 0; i < (options.depth - 4) / 6; ++i) {
        stages_[stage].push_back(
            std::make_unique<Block>(stage_scope / std::to_string(i), width, out, i == 0 && stage > 0 ? 2 : 1));
        width = out;
      }
    }
    last_ = std::make_unique<Norm>(scope, "bn1", width, kRelu);
    feature_width = width;
    classes = options.classes;
    LinearOptions classifier(width, classes);
    classifier.bias = Init::zeros();
    classifier_ = std::make_unique<Classifier>(scope, "fc", classifier);
  }

  // A stage is the sum that its last block gives, without the norm that follows.
  Var features(const Var& images, Mode mode, const Tensor&, std::vector<Var>* stages) override {
    Var x = stem_(images, mode);
    for (auto& stage : stages_) {
      for (auto& block : stage) x = (*block)(x, mode);
      if (stages) stages->push_back(x);
    }
    return mean_hw((*last_)(x, mode));
  }

  Var logits(const Var& features, Mode, const Tensor&) override { return (*classifier_)(features); }

 private:
  Conv stem_;
  std::array<std::vector<std::unique_ptr<Block>>, 3> stages_;
  std::unique_ptr<Norm> last_;
  std::unique_ptr<Classifier> classifier_;
};

}  // namespace

std::unique_ptr<Network> make_wrn(const Scope& scope, const WrnOptions& options) {
  return std::make_unique<Wrn>(scope, options);
}

}  // namespace coss
