// MbConv: the block that EfficientNet and MobileNetV3 are built from, with torchvision's parameter names: 1x1
// convolution to a wider layer, depthwise convolution, squeeze-and-excitation, 1x1 convolution back.
#pragma once
#include <memory>

#include "layers/conv_norm.h"
#include "layers/squeeze_excite.h"

namespace coss {

// What the two families and the libraries that publish them differ in.
struct MbConvStyle {
  float eps = 1e-5f, momentum = 0.1f;                                // of norms
  bool same_padding = false;                                         // TensorFlow's
  Activation gate = Activation::sigmoid, hidden = Activation::silu;  // of squeeze-and-excitation
  bool gate_first = false;  // squeeze-and-excitation before the depthwise convolution's activation, where there is a
                            // convolution before that one
};

struct MbConvOptions {
  int64_t in = 0, wide = 0, out = 0, window = 3, stride = 1;
  int64_t squeeze = 0;  // width of squeeze-and-excitation's hidden layer; 0: the block has none
  bool fused = false;   // one convolution in place of the first two (EfficientNetV2), without squeeze-and-excitation
  Activation activation = Activation::silu;
  float drop = 0;      // rate of stochastic depth
  uint32_t layer = 0;  // DropoutParams::layer of its draw
};

// The nearest multiple of 8, but not below 90 % (the rule of all MobileNets).
int64_t multiple_of_8(double width);

// ConvNorm's options in a style: padding that keeps the size where the stride is 1.
ConvNormOptions styled_conv(int64_t in, int64_t out, int64_t window, int64_t stride, Activation activation,
                            const MbConvStyle& style);

class MbConv {
 public:
  // Layers are numbered in scope, those that a block does without are not counted.
  MbConv(const Scope& scope, const MbConvOptions& options, const MbConvStyle& style);

  // The input is added where it has the output's shape. step: as Network::features has it.
  Var operator()(const Var& x, Mode mode, const Tensor& step);

  int64_t stride() const { return options_.stride; }
  int64_t macs(Extent& extent) const;

 private:
  MbConvOptions options_;
  const Params* params_;
  bool same_;  // input and output have one shape
  bool gate_first_;
  std::unique_ptr<ConvNorm> expand_, depthwise_, project_;
  std::unique_ptr<SqueezeExcite> excite_;
};

}  // namespace coss
