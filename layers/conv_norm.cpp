// ConvNorm: registration, the training path and the folded path.
#include "layers/conv_norm.h"

#include "autograd/ops.h"

namespace coss {

ConvNorm::ConvNorm(const Scope& scope, const std::string& conv_name, const std::string& norm_name,
                   const ConvNormOptions& options)
    : options_(options) {
  const auto& [in, out, window, conv, norm, fan] = options_;
  COSS_ASSERT(!conv.depthwise || in == out);
  const int64_t in_of_one = conv.depthwise ? 1 : in / conv.groups;
  const Shape shape = conv.depthwise ? Shape{window, window, out} : Shape{out, window, window, in_of_one};
  const Init init = Init::kaiming_normal(window * window * (fan == Fan::out ? out : in_of_one));
  Params& params = scope.params();
  params.add_weight(scope.name(conv_name + ".weight"), shape, conv.depthwise ? FileLayout::depthwise : FileLayout::conv,
                    init, &weight_, &master_);
  params.add_rest(scope.name(norm_name + ".weight"), {out}, Init::ones(), &gamma_);
  params.add_rest(scope.name(norm_name + ".bias"), {out}, Init::zeros(), &beta_);
  params.add_stat(scope.name(norm_name + ".running_mean"), {out}, Init::zeros(), &running_mean_);
  params.add_stat(scope.name(norm_name + ".running_var"), {out}, Init::ones(), &running_var_);
}

Var ConvNorm::operator()(const Var& x, Mode mode, const Var& residual) {
  if (mode == Mode::train)
    return norm_act(options_.norm, conv2d(options_.conv, x, weight_), gamma_, beta_, residual, running_mean_,
                    running_var_);
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
  }
  kernels(device).fold_norm(context(device), options_.norm.eps, options_.conv.depthwise, master_, gamma_.value,
                            beta_.value, running_mean_, running_var_, folded_weight_, folded_bias_);
  folded_from_ = sources;
}

int64_t ConvNorm::macs(Extent& extent) const {
  const auto& [in, out, window, conv, norm, fan] = options_;
  extent.height = conv.out_size(extent.height, window);
  extent.width = conv.out_size(extent.width, window);
  const int64_t per_output = window * window * (conv.depthwise ? 1 : in / conv.groups);
  return extent.height * extent.width * out * per_output;
}

}  // namespace coss
