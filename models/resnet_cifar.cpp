// ResnetCifar: stem, three stages of basic blocks, mean over the image, linear classifier.
#include "models/resnet_cifar.h"

#include "layers/conv_norm.h"
#include "models/classifier.h"

namespace coss {
namespace {

// The two kinds scale their initial weights by different fans: Fan::out with projections, else Fan::in.
ConvNormOptions conv(int64_t in, int64_t out, int64_t stride, Fan fan) {
  ConvNormOptions options = same_conv(in, out, 3, stride, Activation::relu);
  options.fan = fan;
  return options;
}

Fan fan_of(const ResnetCifarOptions& options) { return options.projections ? Fan::out : Fan::in; }

class Block {
 public:
  Block(const Scope& scope, const ResnetCifarOptions& options, int64_t in, int64_t out, int64_t stride)
      : stride_(stride),
        out_(out),
        same_(stride == 1 && in == out),
        first_(scope, "conv1", "bn1", conv(in, out, stride, fan_of(options))),
        second_(scope, "conv2", "bn2", conv(out, out, 1, fan_of(options))) {
    if (!same_ && options.projections)
      projection_ =
          std::make_unique<ConvNorm>(scope / "downsample", "0", "1", same_conv(in, out, 1, stride, Activation::none));
  }

  Var operator()(const Var& x, Mode mode) {
    const Var y = first_(x, mode);
    if (same_) return second_(y, mode, x);
    return second_(y, mode, projection_ ? (*projection_)(x, mode) : shortcut_a(stride_, out_, x));
  }

 private:
  int64_t stride_, out_;
  bool same_;
  ConvNorm first_, second_;
  std::unique_ptr<ConvNorm> projection_;
};

class ResnetCifar : public Network {
 public:
  ResnetCifar(const Scope& scope, const ResnetCifarOptions& options)
      : stem_(scope, "conv1", "bn1", conv(3, options.widths[0], 1, fan_of(options))) {
    int64_t width = options.widths[0];
    for (size_t stage = 0; stage < 3; ++stage) {
      const Scope stage_scope = scope / ("layer" + std::to_string(stage + 1));
      const int64_t out = options.widths[stage + 1];
      for (int64_t i = 0; i < options.blocks; ++i) {
        stages_[stage].push_back(
            std::make_unique<Block>(stage_scope / std::to_string(i), options, width, out, i == 0 && stage > 0 ? 2 : 1));
        width = out;
      }
    }
    feature_width = width;
    classes = options.classes;
    LinearOptions classifier(width, classes);
    if (!options.projections) classifier.weight = Init::kaiming_normal(width);
    classifier_ = std::make_unique<Classifier>(scope, options.projections ? "fc" : "linear", classifier);
  }

  Var features(const Var& images, Mode mode, const Tensor&, std::vector<Var>* stages) override {
    Var x = stem_(images, mode);
    for (auto& stage : stages_) {
      for (auto& block : stage) x = (*block)(x, mode);
      if (stages) stages->push_back(x);
    }
    return mean_hw(x);
  }

  Var logits(const Var& features, Mode, const Tensor&) override { return (*classifier_)(features); }

 private:
  ConvNorm stem_;
  std::array<std::vector<std::unique_ptr<Block>>, 3> stages_;
  std::unique_ptr<Classifier> classifier_;
};

}  // namespace

std::unique_ptr<Network> make_resnet_cifar(const Scope& scope, const ResnetCifarOptions& options) {
  return std::make_unique<ResnetCifar>(scope, options);
}

}  // namespace coss
