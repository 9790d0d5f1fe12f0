// MbConv: the block that EfficientNet and MobileNetV3 are built from, with torchvision's parameter names: 1x1
// convolution to a wider layer, depthwise convolution, squeeze-and-excitation, 1x1 convolution back.
#pragma once
#include <memory>

#include "layers/conv_norm.h"
#include "layers/squeeze_excite.h"
#include "models/network.h"

namespace coss {

// The same for all blocks of a network.
struct MbConvStyle {
  Numerics numerics = {};                                            // gate_first acts in blocks that expand
  Activation gate = Activation::sigmoid, hidden = Activation::silu;  // of squeeze-and-excitation
};

struct MbConvOptions {
  int64_t in = 0, wide = 0, out = 0, window = 3, stride = 1;
  int64_t squeeze = 0;  // width of squeeze-and-excitation's hidden layer; 0: the block has no squeeze-and-excitation
  bool fused = false;   // one convolution in place of the first two (EfficientNetV2), no squeeze-and-excitation
  Activation activation = Activation::silu;
  float drop = 0;      // rate of stochastic depth
  uint32_t layer = 0;  // DropoutParams::layer of its draw
};

// The nearest multiple of 8, or the next one if that is below 90 % of the width (the rule of all MobileNets).
int64_t multiple_of_8(double width);

// same_conv with a network's numerics.
ConvNormOptions same_conv_with(const Numerics& numerics, int64_t in, int64_t out, int64_t window, int64_t stride,
                               Activation activation);

class MbConv {
 public:
  // Names the layers scope/0, scope/1 …, counting only those that the block has.
  MbConv(const Scope& scope, const MbConvOptions& options, const MbConvStyle& style);

  // (N,H,W,in) -> (N,P,Q,out). Adds the input if it has the output's shape. step: see Network::features.
  Var operator()(const Var& x, Mode mode, const Tensor& step);

  int64_t stride() const { return options_.stride; }

 private:
  MbConvOptions options_;
  const Params* params_;
  bool same_;  // input and output have the same shape
  bool gate_first_;
  std::unique_ptr<ConvNorm> expand_, depthwise_, project_;
  std::unique_ptr<SqueezeExcite> excite_;
};

}  // namespace coss
