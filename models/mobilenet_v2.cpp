// MobilenetV2: stem, 17 inverted residual blocks, a 1x1 convolution, mean over the image, dropout and linear
// classifier.
#include "models/mobilenet_v2.h"

#include "layers/conv_norm.h"
#include "models/classifier.h"

namespace coss {
namespace {

ConvNormOptions depthwise(int64_t channels, int64_t stride) {
  ConvNormOptions options = same_conv(channels, channels, 3, stride, Activation::relu6);
  options.conv.depthwise = true;
  return options;
}

// 1x1 convolution to more channels, 3x3 depthwise, 1x1 back without activation. The input is added if it has the
// output's shape.
class InvertedResidual {
 public:
  InvertedResidual(const Scope& scope, int64_t in, int64_t out, int64_t stride, int64_t expansion)
      : same_(stride == 1 && in == out) {
    const int64_t wide = in * expansion;
    int next = 0;  // torchvision counts only the layers that the block has
    if (expansion != 1)
      expand_ = std::make_unique<ConvNorm>(scope / std::to_string(next++), "0", "1",
                                           same_conv(in, wide, 1, 1, Activation::relu6));
    depthwise_ = std::make_unique<ConvNorm>(scope / std::to_string(next++), "0", "1", depthwise(wide, stride));
    project_ = std::make_unique<ConvNorm>(scope, std::to_string(next), std::to_string(next + 1),
                                          same_conv(wide, out, 1, 1, Activation::none));
  }

  Var operator()(const Var& x, Mode mode) {
    Var y = expand_ ? (*expand_)(x, mode) : x;
    y = (*depthwise_)(y, mode);
    return (*project_)(y, mode, same_ ? x : Var());
  }

 private:
  bool same_;
  std::unique_ptr<ConvNorm> expand_, depthwise_, project_;
};

struct StageRow {
  int64_t expansion, channels, blocks, stride;
};
constexpr StageRow kStages[] = {{1, 16, 1, 1}, {6, 24, 2, 2},  {6, 32, 3, 2}, {6, 64, 4, 2},
                                {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};
constexpr int64_t kFeatures = 1280;

class MobilenetV2 : public Network {
 public:
  MobilenetV2(const Scope& scope, const MobilenetV2Options& options)
      : params_(&scope.params()), stem_(scope / "features" / "0", "0", "1", same_conv(3, 32, 3, 2, Activation::relu6)) {
    int64_t width = 32;
    int index = 1;
    for (const StageRow& row : kStages) {
      for (int64_t i = 0; i < row.blocks; ++i, ++index) {
        blocks_.push_back(std::make_unique<InvertedResidual>(scope / "features" / std::to_string(index) / "conv", width,
                                                             row.channels, i == 0 ? row.stride : 1, row.expansion));
        width = row.channels;
      }
    }
    last_ = std::make_unique<ConvNorm>(scope / "features" / std::to_string(index), "0", "1",
                                       same_conv(width, kFeatures, 1, 1, Activation::relu6));
    feature_width = kFeatures;
    classes = options.classes;
    LinearOptions classifier(kFeatures, classes);
    classifier.weight = {Init::normal, 0, 0.01f};
    classifier.bias = Init::zeros();
    classifier_ = std::make_unique<Classifier>(scope / "classifier", "1", classifier);
  }

  // There are five stages, each the last output of its resolution.
  Var features(const Var& images, Mode mode, const Tensor&, std::vector<Var>* stages) override {
    Var x = stem_(images, mode);
    for (auto& block : blocks_) {
      Var y = (*block)(x, mode);
      if (stages && y.shape()[1] != x.shape()[1]) stages->push_back(x);
      x = y;
    }
    x = (*last_)(x, mode);
    if (stages) stages->push_back(x);
    return mean_hw(x);
  }

  Var logits(const Var& features, Mode mode, const Tensor& step) override {
    if (mode == Mode::eval) return (*classifier_)(features);
    const DropoutParams params{.rate = 0.2f, .seed = params_->seed(), .layer = 0};
    return (*classifier_)(dropout(params, step, features));
  }

 private:
  const Params* params_;
  ConvNorm stem_;
  std::vector<std::unique_ptr<InvertedResidual>> blocks_;
  std::unique_ptr<ConvNorm> last_;
  std::unique_ptr<Classifier> classifier_;
};

}  // namespace

std::unique_ptr<Network> make_mobilenet_v2(const Scope& scope, const MobilenetV2Options& options) {
  return std::make_unique<MobilenetV2>(scope, options);
}

}  // namespace coss
