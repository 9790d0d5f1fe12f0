// MbConv: registers its layers; the block with and without stochastic depth.
#include "models/mbconv.h"

#include "autograd/ops.h"

namespace coss {

int64_t multiple_of_8(double width) {
  const int64_t rounded = std::max<int64_t>(8, int64_t(width + 4) / 8 * 8);
  return double(rounded) < 0.9 * width ? rounded + 8 : rounded;
}

ConvNormOptions same_conv_with(const Numerics& numerics, int64_t in, int64_t out, int64_t window, int64_t stride,
                               Activation activation) {
  ConvNormOptions options = same_conv(in, out, window, stride, activation);
  if (numerics.same_padding) options.conv.same = true, options.conv.pad = 0;
  options.norm.eps = numerics.eps;
  options.norm.momentum = numerics.momentum;
  return options;
}

MbConv::MbConv(const Scope& scope, const MbConvOptions& options, const MbConvStyle& style)
    : options_(options),
      params_(&scope.params()),
      same_(options.stride == 1 && options.in == options.out),
      gate_first_(style.numerics.gate_first && options.wide != options.in && options.squeeze > 0) {
  const auto& [in, wide, out, window, stride, squeeze, fused, act, drop, layer] = options_;
  const Numerics& numerics = style.numerics;
  int next = 0;
  const auto part = [&] { return scope / std::to_string(next++); };
  if (fused) {
    // A block that does not widen has one convolution only.
    expand_ = std::make_unique<ConvNorm>(part(), "0", "1",
                                         same_conv_with(numerics, in, wide != in ? wide : out, window, stride, act));
    if (wide != in)
      project_ =
          std::make_unique<ConvNorm>(part(), "0", "1", same_conv_with(numerics, wide, out, 1, 1, Activation::none));
    return;
  }
  if (wide != in) expand_ = std::make_unique<ConvNorm>(part(), "0", "1", same_conv_with(numerics, in, wide, 1, 1, act));
  ConvNormOptions depthwise =
      same_conv_with(numerics, wide, wide, window, stride, gate_first_ ? Activation::none : act);
  depthwise.conv.depthwise = true;
  depthwise_ = std::make_unique<ConvNorm>(part(), "0", "1", depthwise);
  if (squeeze > 0)
    excite_ = std::make_unique<SqueezeExcite>(
        part(), SqueezeExciteOptions{.channels = wide, .width = squeeze, .hidden = style.hidden, .gate = style.gate});
  project_ = std::make_unique<ConvNorm>(part(), "0", "1", same_conv_with(numerics, wide, out, 1, 1, Activation::none));
}

Var MbConv::operator()(const Var& x, Mode mode, const Tensor& step) {
  Var y = expand_ ? (*expand_)(x, mode) : x;
  if (depthwise_) y = (*depthwise_)(y, mode);
  if (excite_) y = (*excite_)(y, mode);
  if (gate_first_) y = activation(options_.activation, y);
  const bool drops = mode == Mode::train && options_.drop > 0;
  if (same_ && project_ && !drops) return (*project_)(y, mode, x);
  if (project_) y = (*project_)(y, mode);
  if (!same_) return y;
  if (!drops) return add(y, x);
  const DropoutParams draw{.rate = options_.drop, .seed = params_->seed(), .layer = options_.layer};
  return add(drop_path(draw, step, y), x);
}

}  // namespace coss
