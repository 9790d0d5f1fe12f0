// Batch norm + add + activation as one operation: two passes over memory forward, two backward.
#include "autograd/ops.h"

namespace coss {

Var norm_act(const NormParams& p, const Var& x, const Var& gamma, const Var& beta, const Var& residual,
             Tensor& running_mean, Tensor& running_var) {
  const int64_t channels = x.shape().back();
  const DType wide = accumulator_of(x.value.dtype());
  for (const Tensor* t :
       {&gamma.value, &beta.value, &static_cast<const Tensor&>(running_mean), &static_cast<const Tensor&>(running_var)})
    COSS_CHECK(t->shape() == Shape{channels} && t->dtype() == wide,
               "[norm_act] input has " + std::to_string(channels) + " channels: scale, shift and statistics must be " +
                   name_of(wide) + " (" + std::to_string(channels) + "), one is " + name_of(t->dtype()) + " " +
                   t->shape().str());
  COSS_CHECK(x.shape().rows() > 1, "[norm_act] batch statistics need more than one value per channel");
  COSS_CHECK(residual.empty() || residual.shape() == x.shape(),
             "[norm_act] residual " + residual.shape().str() + " is not shaped like the input " + x.shape().str());

  const Device device = x.value.device();
  Tensor mean({channels}, wide, device), rstd({channels}, wide, device), mask;
  if (p.activation != Activation::none) mask = Tensor({(x.shape().numel() + 7) / 8}, DType::u8, device);
  Var y = make_output(Tensor(x.shape(), x.value.dtype(), device), {&x, &gamma, &beta, &residual});
  kernels(device).norm_act_forward(context(device), p, x.value, gamma.value, beta.value, residual.value, running_mean,
                                   running_var, y.value, mean, rstd, mask);
  if (!y.grad) return y;
  Tape::active()->record(y, [p, x, gamma, beta, residual = grad_only(residual), mean, rstd, mask](Tensor dy) {
    Context& ctx = context(dy.device());
    Tensor dresidual;
    if (residual.grad && p.activation != Activation::none) {
      dresidual = Tensor(dy.shape(), dy.dtype(), dy.device());
    } else if (residual.grad) {
      accumulate(residual, dy);  // no activation: the residual's gradient is dy itself
    }
    Tensor dx = dy.unique() ? dy : Tensor(dy.shape(), dy.dtype(), dy.device());
    // The kernel adds to dgamma and dbeta: a parameter's own buffer, else one that starts at zero.
    auto target = [&](const Var& v) {
      if (v.grad && v.grad->is_param) return v.grad->value;
      Tensor zero(v.shape(), v.value.dtype(), ctx.device());
      kernels(zero).fill(ctx, 0, zero);
      return zero;
    };
    Tensor dgamma = target(gamma), dbeta = target(beta);
    kernels(dy).norm_act_backward(ctx, p, x.value, mask, gamma.value, mean, rstd, dy, dx, dresidual, dgamma, dbeta);
    dy = Tensor();
    for (const auto& [v, g] : {std::pair(&gamma, &dgamma), std::pair(&beta, &dbeta)})
      if (v->grad && !v->grad->is_param) accumulate(*v, *g);
    if (!dresidual.empty()) accumulate(residual, dresidual);
    accumulate(x, dx);
  });
  return y;
}

}  // namespace coss
