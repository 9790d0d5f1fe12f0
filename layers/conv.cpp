// Conv: registers its parameters; train mode; eval mode, whose epilogue adds the residual.
#include "layers/conv.h"

#include "autograd/ops.h"

namespace coss {

void add_conv_weight(const Scope& scope, const std::string& name, const ConvOptions& options, Var* weight,
                     Tensor* master) {
  const auto& [in, out, window, conv, fan, bias, activation] = options;
  COSS_ASSERT(!conv.depthwise || in == out);
  const int64_t in_of_one = conv.depthwise ? 1 : in / conv.groups;
  const Shape shape = conv.depthwise ? Shape{window, window, out} : Shape{out, window, window, in_of_one};
  const Init init = Init::kaiming_normal(window * window * (fan == Fan::out ? out : in_of_one));
  scope.params().add_weight(scope.name(name + ".weight"), shape,
                            conv.depthwise ? FileLayout::depthwise : FileLayout::conv, init, weight, master);
}

Conv::Conv(const Scope& scope, const std::string& name, const ConvOptions& options) : options_(options) {
  add_conv_weight(scope, name, options, &weight_);
  if (options.bias) scope.params().add_rest(scope.name(name + ".bias"), {options.out}, Init::zeros(), &bias_);
}

Var Conv::operator()(const Var& x, Mode mode, const Var& residual) {
  if (mode == Mode::train) {
    const Var y = conv2d(options_.conv, x, weight_, bias_);
    return activation(options_.activation, residual.empty() ? y : add(y, residual));
  }
  if (!options_.bias && no_bias_.empty()) {
    const Device device = x.value.device();
    no_bias_ = Tensor({options_.out}, accumulator_of(x.value.dtype()), device);
    kernels(device).fill(context(device), 0, no_bias_);
  }
  return Var(conv2d_bias_act(options_.conv, options_.activation, x.value, weight_.value,
                             options_.bias ? bias_.value : no_bias_, residual.value));
}

}  // namespace coss
