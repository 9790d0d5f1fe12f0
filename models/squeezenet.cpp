// Squeezenet: a convolution, eight fire modules with three poolings between them, mean over the image. torchvision's
// classifier applies ReLU before the mean, so it cannot be computed from the features; here the classifier is linear.
#include "models/squeezenet.h"

#include "autograd/ops.h"
#include "layers/conv.h"
#include "models/classifier.h"

namespace coss {
namespace {

ConvOptions conv_relu(int64_t in, int64_t out, int64_t window, int64_t stride, int64_t pad) {
  return {.in = in,
          .out = out,
          .window = window,
          .conv = {.stride = stride, .pad = pad},
          .fan = Fan::in,
          .bias = true,
          .activation = Activation::relu};
}

// A 1x1 convolution to few channels; then a 1x1 and a 3x3 convolution, both of its output, to many channels each.
class Fire {
 public:
  Fire(const Scope& scope, int64_t in, int64_t squeezed, int64_t expanded)
      : squeeze_(scope, "squeeze", conv_relu(in, squeezed, 1, 1, 0)),
        expand1_(scope, "expand1x1", conv_relu(squeezed, expanded, 1, 1, 0)),
        expand3_(scope, "expand3x3", conv_relu(squeezed, expanded, 3, 1, 1)) {}

  Var operator()(const Var& x, Mode mode) {
    const Var squeezed = squeeze_(x, mode);
    return concat_channels({expand1_(squeezed, mode), expand3_(squeezed, mode)});
  }

 private:
  Conv squeeze_, expand1_, expand3_;
};

struct FireRow {
  int64_t index, squeezed, expanded;  // index: in torchvision's Sequential
  bool pooled;                        // a pooling comes before it
};
constexpr FireRow kFires[] = {{3, 16, 64, true},  {4, 16, 64, false},   {6, 32, 128, true},   {7, 32, 128, false},
                              {9, 48, 192, true}, {10, 48, 192, false}, {11, 64, 256, false}, {12, 64, 256, false}};
constexpr PoolParams kPool{.window = 3, .stride = 2, .pad = 0, .ceil = true};

class Squeezenet : public Network {
 public:
  Squeezenet(const Scope& scope, const SqueezenetOptions& options)
      : stem_(scope / "features", "0", conv_relu(3, 64, 3, 2, 0)) {
    int64_t width = 64;
    for (const FireRow& row : kFires) {
      fires_.push_back(
          std::make_unique<Fire>(scope / "features" / std::to_string(row.index), width, row.squeezed, row.expanded));
      width = 2 * row.expanded;
    }
    feature_width = width;
    classes = options.classes;
    classifier_ = std::make_unique<Classifier>(scope, "fc", LinearOptions(width, classes));
  }

  // Each stage is the last output of its resolution.
  Var features(const Var& images, Mode mode, const Tensor&, std::vector<Var>* stages) override {
    Var x = stem_(images, mode);
    for (size_t i = 0; i < fires_.size(); ++i) {
      if (kFires[i].pooled) {
        if (stages) stages->push_back(x);
        x = max_pool(kPool, x);
      }
      x = (*fires_[i])(x, mode);
    }
    if (stages) stages->push_back(x);
    return mean_hw(x);
  }

  Var logits(const Var& features, Mode, const Tensor&) override { return (*classifier_)(features); }

 private:
  Conv stem_;
  std::vector<std::unique_ptr<Fire>> fires_;
  std::unique_ptr<Classifier> classifier_;
};

}  // namespace

std::unique_ptr<Network> make_squeezenet(const Scope& scope, const SqueezenetOptions& options) {
  return std::make_unique<Squeezenet>(scope, options);
}

}  // namespace coss
