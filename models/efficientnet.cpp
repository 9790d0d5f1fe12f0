// Efficientnet: stem, six or seven groups of MbConv blocks, a 1x1 convolution, mean over the image, dropout and linear
// classifier.
#include "models/efficientnet.h"

#include <cmath>
#include <span>

#include "models/classifier.h"
#include "models/mbconv.h"

namespace coss {
namespace {

struct Size {
  double width, depth;
  float dropout;
};
constexpr Size kSizes[] = {{1.0, 1.0, 0.2f}, {1.0, 1.1, 0.2f}, {1.1, 1.2, 0.3f}, {1.2, 1.4, 0.3f},
                           {1.4, 1.8, 0.4f}, {1.6, 2.2, 0.4f}, {1.8, 2.6, 0.5f}, {2.0, 3.1, 0.5f},
                           {1.0, 1.0, 0.2f}, {1.0, 1.0, 0.3f}, {1.0, 1.0, 0.4f}};

struct Group {
  int64_t expansion, window, stride, channels, blocks;
  bool fused = false;
};
constexpr Group kGroups[] = {{1, 3, 1, 16, 1},  {6, 3, 2, 24, 2},  {6, 5, 2, 40, 2}, {6, 3, 2, 80, 3},
                             {6, 5, 1, 112, 3}, {6, 5, 2, 192, 4}, {6, 3, 1, 320, 1}};
constexpr Group kGroupsS[] = {{1, 3, 1, 24, 2, true}, {4, 3, 2, 48, 4, true}, {4, 3, 2, 64, 4, true},
                              {4, 3, 2, 128, 6},      {6, 3, 1, 160, 9},      {6, 3, 2, 256, 15}};
constexpr Group kGroupsM[] = {{1, 3, 1, 24, 3, true}, {4, 3, 2, 48, 5, true}, {4, 3, 2, 80, 5, true}, {4, 3, 2, 160, 7},
                              {6, 3, 1, 176, 14},     {6, 3, 2, 304, 18},     {6, 3, 1, 512, 5}};
constexpr Group kGroupsL[] = {{1, 3, 1, 32, 4, true}, {4, 3, 2, 64, 7, true}, {4, 3, 2, 96, 7, true},
                              {4, 3, 2, 192, 10},     {6, 3, 1, 224, 19},     {6, 3, 2, 384, 25},
                              {6, 3, 1, 640, 7}};
constexpr int64_t kStem = 32, kLast = 320;

std::span<const Group> groups_of(int size) {
  if (size == kEfficientnetV2S) return kGroupsS;
  if (size == kEfficientnetV2M) return kGroupsM;
  if (size == kEfficientnetV2L) return kGroupsL;
  return kGroups;
}

int64_t stem_width(int size) {
  return size < kEfficientnetV2S ? multiple_of_8(kStem * kSizes[size].width) : groups_of(size)[0].channels;
}

int64_t feature_width_of(int size) {
  return size < kEfficientnetV2S ? 4 * multiple_of_8(kLast * kSizes[size].width) : 1280;
}

int64_t depth_of(const Group& group, const Size& size) { return int64_t(std::ceil(double(group.blocks) * size.depth)); }

class Efficientnet : public Network {
 public:
  Efficientnet(const Scope& scope, const EfficientnetOptions& options)
      : params_(&scope.params()), dropout_(kSizes[options.size].dropout) {
    const Size& size = kSizes[options.size];
    const Numerics& numerics = options.numerics;
    const Scope features = scope / "features";
    int64_t width = stem_width(options.size);
    stem_ = std::make_unique<ConvNorm>(features / "0", "0", "1",
                                       same_conv_with(numerics, 3, width, 3, 2, Activation::silu));

    int64_t total = 0;
    for (const Group& group : groups_of(options.size)) total += depth_of(group, size);
    int index = 1;
    for (const Group& group : groups_of(options.size)) {
      const Scope group_scope = features / std::to_string(index++);
      const int64_t out = multiple_of_8(double(group.channels) * size.width);
      for (int64_t i = 0; i < depth_of(group, size); ++i) {
        const size_t done = blocks_.size();
        blocks_.push_back(std::make_unique<MbConv>(group_scope / std::to_string(i) / "block",
                                                   MbConvOptions{.in = width,
                                                                 .wide = width * group.expansion,
                                                                 .out = out,
                                                                 .window = group.window,
                                                                 .stride = i == 0 ? group.stride : 1,
                                                                 .squeeze = std::max<int64_t>(1, width / 4),
                                                                 .fused = group.fused,
                                                                 .drop = options.drop_path * float(done) / float(total),
                                                                 .layer = uint32_t(done + 1)},
                                                   MbConvStyle{.numerics = numerics}));
        width = out;
      }
    }
    feature_width = feature_width_of(options.size);
    last_ = std::make_unique<ConvNorm>(features / std::to_string(index), "0", "1",
                                       same_conv_with(numerics, width, feature_width, 1, 1, Activation::silu));
    classes = options.classes;
    LinearOptions classifier(feature_width, classes);
    const float range = 1 / std::sqrt(float(std::max<int64_t>(classes, 1)));
    classifier.weight = {Init::uniform, -range, range};
    classifier.bias = Init::zeros();
    classifier_ = std::make_unique<Classifier>(scope / "classifier", "1", classifier);
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
    if (mode == Mode::eval) return (*classifier_)(features);
    const DropoutParams params{.rate = dropout_, .seed = params_->seed(), .layer = 0};
    return (*classifier_)(dropout(params, step, features));
  }

 private:
  const Params* params_;
  float dropout_;
  std::unique_ptr<ConvNorm> stem_, last_;
  std::vector<std::unique_ptr<MbConv>> blocks_;
  std::unique_ptr<Classifier> classifier_;
};

}  // namespace

std::unique_ptr<Network> make_efficientnet(const Scope& scope, const EfficientnetOptions& options) {
  return std::make_unique<Efficientnet>(scope, options);
}

}  // namespace coss
