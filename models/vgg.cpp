// VggCifar: five blocks of 3x3 convolutions with pooling between the first four, mean over the image, linear
// classifier.
#include "models/vgg.h"

#include <array>

#include "layers/conv_norm.h"
#include "models/classifier.h"

namespace coss {
namespace {

constexpr std::array<int64_t, 5> kWidths{64, 128, 256, 512, 512};
constexpr PoolParams kPool{.window = 2, .stride = 2, .pad = 0};

// Only images of 64 pixels (Tiny ImageNet) get the fourth pooling; smaller ones have 4 pixels a side before it.
bool pools_before(size_t block, int64_t image_size) { return block > 0 && (block < 4 || image_size == 64); }

class VggCifar : public Network {
 public:
  VggCifar(const Scope& scope, const VggOptions& options) {
    int64_t width = 3;
    for (size_t block = 0; block < kWidths.size(); ++block) {
      const Scope block_scope = scope / ("block" + std::to_string(block));
      for (int64_t i = 0; i < options.convolutions; ++i) {
        ConvNormOptions conv = same_conv(width, kWidths[block], 3, 1, Activation::relu);
        conv.bias = true;
        // RepDistiller numbers convolution, norm and activation as three layers.
        blocks_[block].push_back(
            std::make_unique<ConvNorm>(block_scope, std::to_string(3 * i), std::to_string(3 * i + 1), conv));
        width = kWidths[block];
      }
    }
    feature_width = width;
    classes = options.classes;
    LinearOptions classifier(width, classes);
    classifier.weight = {Init::normal, 0, 0.01f};
    classifier.bias = Init::zeros();
    classifier_ = std::make_unique<Classifier>(scope, "classifier", classifier);
  }

  Var features(const Var& images, Mode mode, const Tensor&, std::vector<Var>* stages) override {
    Var x = images;
    for (size_t block = 0; block < blocks_.size(); ++block) {
      if (pools_before(block, images.shape()[1])) x = max_pool(kPool, x);
      for (auto& layer : blocks_[block]) x = (*layer)(x, mode);
      if (stages) stages->push_back(x);
    }
    return mean_hw(x);
  }

  Var logits(const Var& features, Mode, const Tensor&) override { return (*classifier_)(features); }

 private:
  std::array<std::vector<std::unique_ptr<ConvNorm>>, kWidths.size()> blocks_;
  std::unique_ptr<Classifier> classifier_;
};

}  // namespace

std::unique_ptr<Network> make_vgg_cifar(const Scope& scope, const VggOptions& options) {
  return std::make_unique<VggCifar>(scope, options);
}

}  // namespace coss
