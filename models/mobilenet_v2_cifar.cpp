// MobilenetV2Cifar: stem, 17 inverted residual blocks, a 1x1 convolution, mean over the image, linear classifier.
#include "models/mobilenet_v2_cifar.h"

#include "layers/conv_norm.h"
#include "models/classifier.h"

namespace coss {
namespace {

// 1x1 convolution to more channels (in the first block as many), 3x3 depthwise, 1x1 back without activation. The input
// is added if it has the output's shape.
class Block {
 public:
  Block(const Scope& scope, int64_t in, int64_t out, int64_t stride, int64_t expansion)
      : stride_(stride), same_(stride == 1 && in == out) {
    const int64_t wide = in * expansion;
    ConvNormOptions depthwise = same_conv(wide, wide, 3, stride, Activation::relu);
    depthwise.conv.depthwise = true;
    expand_ = std::make_unique<ConvNorm>(scope, "0", "1", same_conv(in, wide, 1, 1, Activation::relu));
    depthwise_ = std::make_unique<ConvNorm>(scope, "3", "4", depthwise);
    project_ = std::make_unique<ConvNorm>(scope, "6", "7", same_conv(wide, out, 1, 1, Activation::none));
  }

  Var operator()(const Var& x, Mode mode) {
    return (*project_)((*depthwise_)((*expand_)(x, mode), mode), mode, same_ ? x : Var());
  }

  int64_t stride() const { return stride_; }

 private:
  int64_t stride_;
  bool same_;
  std::unique_ptr<ConvNorm> expand_, depthwise_, project_;
};

struct StageRow {
  int64_t expansion, channels, blocks, stride;
};
constexpr StageRow kStages[] = {{1, 8, 1, 1},  {6, 12, 2, 1}, {6, 16, 3, 2}, {6, 32, 4, 2},
                                {6, 48, 3, 1}, {6, 80, 3, 2}, {6, 160, 1, 1}};
constexpr int64_t kStem = 16, kFeatures = 1280;

class MobilenetV2Cifar : public Network {
 public:
  MobilenetV2Cifar(const Scope& scope, const MobilenetV2CifarOptions& options)
      : stem_(scope / "conv1", "0", "1", same_conv(3, kStem, 3, 2, Activation::relu)) {
    int64_t width = kStem;
    int stage = 0;
    for (const StageRow& row : kStages) {
      const Scope stage_scope = scope / "blocks" / std::to_string(stage++);
      for (int64_t i = 0; i < row.blocks; ++i) {
        blocks_.push_back(std::make_unique<Block>(stage_scope / std::to_string(i) / "conv", width, row.channels,
                                                  i == 0 ? row.stride : 1, row.expansion));
        width = row.channels;
      }
    }
    last_ = std::make_unique<ConvNorm>(scope / "conv2", "0", "1", same_conv(width, kFeatures, 1, 1, Activation::relu));
    feature_width = kFeatures;
    classes = options.classes;
    LinearOptions classifier(kFeatures, classes);
    classifier.weight = {Init::normal, 0, 0.01f};
    classifier.bias = Init::zeros();
    classifier_ = std::make_unique<Classifier>(scope / "classifier", "0", classifier);
  }

  // There are four stages, each the last output of its resolution.
  Var features(const Var& images, Mode mode, const Tensor&, std::vector<Var>* stages) override {
    Var x = stem_(images, mode);
    for (auto& block : blocks_) {
      if (stages && block->stride() > 1) stages->push_back(x);
      x = (*block)(x, mode);
    }
    x = (*last_)(x, mode);
    if (stages) stages->push_back(x);
    return mean_hw(x);
  }

  Var logits(const Var& features, Mode, const Tensor&) override { return (*classifier_)(features); }

 private:
  ConvNorm stem_;
  std::vector<std::unique_ptr<Block>> blocks_;
  std::unique_ptr<ConvNorm> last_;
  std::unique_ptr<Classifier> classifier_;
};

}  // namespace

std::unique_ptr<Network> make_mobilenet_v2_cifar(const Scope& scope, const MobilenetV2CifarOptions& options) {
  return std::make_unique<MobilenetV2Cifar>(scope, options);
}

}  // namespace coss
