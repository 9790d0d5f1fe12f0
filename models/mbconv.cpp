// MbConv: registration and the two paths.
#include "models/mbconv.h"

#include "autograd/ops.h"

namespace coss {

int64_t multiple_of_8(double width) {
  const int64_t rounded = std::max<int64_t>(8, int64_t(width + 4) / 8 * 8);
  return double(rounded) < 0.9 * width ? rounded + 8 : rounded;
}

ConvNormOptions styled_conv(int64_t in, int64_t out, int64_t window, int64_t stride, Activation activation,
                            const MbConvStyle& style) {
  ConvNormOptions options = same_conv(in, out, window, stride, activation);
  if (style.same_padding) options.conv.same = true, options.conv.pad = 0;
  options.norm.eps = style.eps;
  options.norm.momentum = style.momentum;
  return options;
}

MbConv::MbConv(const Scope& scope, const MbConvOptions& options, const MbConvStyle& style)
    : options_(options),
      params_(&scope.params()),
      same_(options.stride == 1 && options.in == options.out),
      gate_first_(style.gate_first && options.wide != options.in && options.squeeze > 0) {
  const auto& [in, wide, out, window, stride, squeeze, fused, act, drop, layer] = options_;
  int next = 0;
  const auto part = [&] { return scope / std::to_string(next++); };
  if (fused) {
    // Where nothing widens the one convolution is all there is.
    expand_ = std::make_unique<ConvNorm>(part(), "0", "1",
                                         styled_conv(in, wide != in ? wide : out, window, stride, act, style));
    if (wide != in)
      project_ = std::make_unique<ConvNorm>(part(), "0", "1", styled_conv(wide, out, 1, 1, Activation::none, style));
    return;
  }
  if (wide != in) expand_ = std::make_unique<ConvNorm>(part(), "0", "1", styled_conv(in, wide, 1, 1, act, style));
  ConvNormOptions depthwise = styled_conv(wide, wide, window, stride, gate_first_ ? Activation::none : act, style);
  depthwise.conv.depthwise = true;
  depthwise_ = std::make_unique<ConvNorm>(part(), "0", "1", depthwise);
  if (squeeze > 0)
    excite_ = std::make_unique<SqueezeExcite>(
        part(), SqueezeExciteOptions{.channels = wide, .width = squeeze, .hidden = style.hidden, .gate = style.gate});
  project_ = std::make_unique<ConvNorm>(part(), "0", "1", styled_conv(wide, out, 1, 1, Activation::none, style));
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

int64_t MbConv::macs(Extent& extent) const {
  int64_t total = expand_ ? expand_->macs(extent) : 0;
  if (depthwise_) total += depthwise_->macs(extent);
  if (excite_) total += excite_->macs();
  return project_ ? total + project_->macs(extent) : total;
}

}  // namespace coss
