// ConvNorm: registers its parameters; train mode; eval mode with folded weights.
#include "layers/conv_norm.h"

#include "autograd/ops.h"

namespace coss {

ConvNorm::ConvNorm(const Scope& scope, const std::string& conv_name, const std::string& norm_name,
                   const ConvNormOptions& options)
    : options_(options) {
  const int64_t out = options.out;
  Params& params = scope.params();
  add_conv_weight(scope, conv_name, options.convolution(), &weight_, &master_);
  if (options.bias) params.add_rest(scope.name(conv_name + ".bias"), {out}, Init::zeros(), &bias_);
  params.add_rest(scope.name(norm_name + ".weight"), {out}, Init::ones(), &gamma_);
  params.add_rest(scope.name(norm_name + ".bias"), {out}, Init::zeros(), &beta_);
  params.add_stat(scope.name(norm_name + ".running_mean"), {out}, Init::zeros(), &running_mean_);
  params.add_stat(scope.name(norm_name + ".running_var"), {out}, Init::ones(), &running_var_);
}

Var ConvNorm::operator()(const Var& x, Mode mode, const Var& residual) {
  if (mode == Mode::train) {
    const Var y = norm_act(options_.norm, conv2d(options_.conv, x, weight_), gamma_, beta_, residual, running_mean_,
                           running_var_);
    // The norm subtracts the batch's mean and the bias with it, so the bias's gradient is zero; only the running mean
    // includes it.
    if (options_.bias)
      kernels(running_mean_).axpy(context(running_mean_.device()), options_.norm.momentum, bias_.value, running_mean_);
    return y;
  }
  refold();
  return Var(
      conv2d_bias_act(options_.conv, options_.norm.activation, x.value, folded_weight_, folded_bias_, residual.value));
}

void ConvNorm::refold() {
  const std::array<uint64_t, 3> sources{master_.version(), gamma_.value.version(), running_mean_.version()};
  if (sources == folded_from_) return;
  const Device device = master_.device();
  if (folded_weight_.empty()) {
    folded_weight_ = Tensor(weight_.shape(), weight_.value.dtype(), device);
    folded_bias_ = Tensor(beta_.shape(), beta_.value.dtype(), device);
    if (options_.bias) shifted_mean_ = Tensor(beta_.shape(), beta_.value.dtype(), device);
  }
  Tensor mean = running_mean_;
  if (options_.bias) {
    mean = shifted_mean_;
    kernels(device).cast(context(device), running_mean_, mean);
    kernels(device).axpy(context(device), -1, bias_.value, mean);
  }
  kernels(device).fold_norm(context(device), options_.norm.eps, options_.conv.depthwise, master_, gamma_.value,
                            beta_.value, mean, running_var_, folded_weight_, folded_bias_);
  folded_from_ = sources;
}

}  // namespace coss
