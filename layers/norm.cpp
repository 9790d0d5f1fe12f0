// Norm: registers its parameters; train mode; eval mode.
#include "layers/norm.h"

#include "autograd/ops.h"

namespace coss {

Norm::Norm(const Scope& scope, const std::string& name, int64_t channels, const NormParams& options, bool affine)
    : options_(options), channels_(channels) {
  Params& params = scope.params();
  if (affine) {
    params.add_rest(scope.name(name + ".weight"), {channels}, Init::ones(), &gamma_);
    params.add_rest(scope.name(name + ".bias"), {channels}, Init::zeros(), &beta_);
  }
  params.add_stat(scope.name(name + ".running_mean"), {channels}, Init::zeros(), &running_mean_);
  params.add_stat(scope.name(name + ".running_var"), {channels}, Init::ones(), &running_var_);
}

// A norm that is not affine multiplies by ones and adds zeros.
void Norm::make_constants() {
  const Kernels& k = kernels(running_mean_);
  Context& ctx = context(running_mean_.device());
  for (const auto& [constant, value] : {std::pair(&gamma_, 1.0), std::pair(&beta_, 0.0)}) {
    *constant = Var(Tensor({channels_}, running_mean_.dtype(), running_mean_.device()));
    k.fill(ctx, value, constant->value);
  }
}

Var Norm::operator()(const Var& x, Mode mode) {
  if (gamma_.empty()) make_constants();
  if (mode == Mode::train) return norm_act(options_, x, gamma_, beta_, {}, running_mean_, running_var_);
  const Device device = x.value.device();
  if (scale_.empty()) {
    ones_ = Tensor({1, 1, channels_}, beta_.value.dtype(), device);
    scale_ = Tensor({1, 1, channels_}, x.value.dtype(), device);
    shift_ = Tensor({channels_}, beta_.value.dtype(), device);
    kernels(device).fill(context(device), 1, ones_);
  }
  refold();
  const ConvParams pointwise{.depthwise = true};
  return Var(conv2d_bias_act(pointwise, options_.activation, x.value, scale_, shift_, {}));
}

void Norm::refold() {
  const std::array<uint64_t, 2> sources{gamma_.value.version(), running_mean_.version()};
  if (sources == folded_from_) return;
  const Device device = ones_.device();
  kernels(device).fold_norm(context(device), options_.eps, true, ones_, gamma_.value, beta_.value, running_mean_,
                            running_var_, scale_, shift_);
  folded_from_ = sources;
}

}  // namespace coss
