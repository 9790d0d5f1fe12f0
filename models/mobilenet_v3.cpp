// MobilenetV3: stem, MbConv blocks, a 1x1 convolution, mean over the image, and a classifier of two layers.
#include "models/mobilenet_v3.h"

#include <span>

#include "models/classifier.h"
#include "models/mbconv.h"

namespace coss {
namespace {

struct BlockRow {
  int64_t window, wide, out;
  bool squeezes, hardswish;
  int64_t stride;
};
constexpr BlockRow kSmall[] = {{3, 16, 16, true, false, 2}, {3, 72, 24, false, false, 2}, {3, 88, 24, false, false, 1},
                               {5, 96, 40, true, true, 2},  {5, 240, 40, true, true, 1},  {5, 240, 40, true, true, 1},
                               {5, 120, 48, true, true, 1}, {5, 144, 48, true, true, 1},  {5, 288, 96, true, true, 2},
                               {5, 576, 96, true, true, 1}, {5, 576, 96, true, true, 1}};
constexpr BlockRow kLarge[] = {
    {3, 16, 16, false, false, 1}, {3, 64, 24, false, false, 2}, {3, 72, 24, false, false, 1},
    {5, 72, 40, true, false, 2},  {5, 120, 40, true, false, 1}, {5, 120, 40, true, false, 1},
    {3, 240, 80, false, true, 2}, {3, 200, 80, false, true, 1}, {3, 184, 80, false, true, 1},
    {3, 184, 80, false, true, 1}, {3, 480, 112, true, true, 1}, {3, 672, 112, true, true, 1},
    {5, 672, 160, true, true, 2}, {5, 960, 160, true, true, 1}, {5, 960, 160, true, true, 1}};
constexpr int64_t kStem = 16;

LinearOptions linear_options(int64_t in, int64_t out) {
  LinearOptions options(in, out);
  options.weight = {Init::normal, 0, 0.01f};
  options.bias = Init::zeros();
  return options;
}

class MobilenetV3 : public Network {
 public:
  MobilenetV3(const Scope& scope, const MobilenetV3Options& options) : params_(&scope.params()) {
    const Numerics& numerics = options.numerics;
    const MbConvStyle style{.numerics = numerics, .gate = Activation::hardsigmoid, .hidden = Activation::relu};
    const Scope features = scope / "features";
    stem_ = std::make_unique<ConvNorm>(features / "0", "0", "1",
                                       same_conv_with(numerics, 3, kStem, 3, 2, Activation::hardswish));
    int64_t width = kStem;
    int index = 1;
    const auto rows = options.large ? std::span<const BlockRow>(kLarge) : std::span<const BlockRow>(kSmall);
    for (const BlockRow& row : rows) {
      blocks_.push_back(std::make_unique<MbConv>(
          features / std::to_string(index++) / "block",
          MbConvOptions{.in = width,
                        .wide = row.wide,
                        .out = row.out,
                        .window = row.window,
                        .stride = row.stride,
                        .squeeze = row.squeezes ? multiple_of_8(double(row.wide) / 4) : 0,
                        .activation = row.hardswish ? Activation::hardswish : Activation::relu},
          style));
      width = row.out;
    }
    feature_width = 6 * width;
    last_ = std::make_unique<ConvNorm>(features / std::to_string(index), "0", "1",
                                       same_conv_with(numerics, width, feature_width, 1, 1, Activation::hardswish));
    classes = options.classes;
    const int64_t hidden_width = classes == 0 ? 0 : options.large ? 1280 : 1024;
    hidden_ = std::make_unique<Classifier>(scope / "classifier", "0", linear_options(feature_width, hidden_width));
    classifier_ = std::make_unique<Classifier>(scope / "classifier", "3", linear_options(hidden_width, classes));
  }

  // There are five stages, each the last output of its resolution.
  Var features(const Var& images, Mode mode, const Tensor& step, std::vector<Var>* stages) override {
    Var x = (*stem_)(images, mode);
    for (auto& block : blocks_) {
      if (stages && block->stride() > 1) stages->push_back(x);
      x = (*block)(x, mode, step);
    }
    x = (*last_)(x, mode);
    if (stages) stages->push_back(x);
    return mean_hw(x);
  }

  Var logits(const Var& features, Mode mode, const Tensor& step) override {
    const Var hidden = activation(Activation::hardswish, (*hidden_)(features));
    if (mode == Mode::eval) return (*classifier_)(hidden);
    const DropoutParams params{.rate = 0.2f, .seed = params_->seed(), .layer = 0};
    return (*classifier_)(dropout(params, step, hidden));
  }

 private:
  const Params* params_;
  std::unique_ptr<ConvNorm> stem_, last_;
  std::vector<std::unique_ptr<MbConv>> blocks_;
  std::unique_ptr<Classifier> hidden_, classifier_;
};

}  // namespace

std::unique_ptr<Network> make_mobilenet_v3(const Scope& scope, const MobilenetV3Options& options) {
  return std::make_unique<MobilenetV3>(scope, options);
}

}  // namespace coss
