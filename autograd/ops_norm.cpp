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
  COSS_CHECK(x.shape().rows() > 1, "[batch_norm] needs more than one value per channel, input is " + x.shape().str() +
                                       ": use a larger batch");
  COSS_CHECK(residual.empty() || residual.shape() == x.shape(),
             "[norm_act] residual " + residual.shape().str() + " is not shaped like the input " + x.shape().str());
  const bool masked = p.activation != Activation::none && clips(p.activation);
  COSS_CHECK(residual.empty() || clips(p.activation),
             "[norm_act] a residual goes with no activation, relu or relu6: after silu and hardswish add it yourself");

  const Device device = x.value.device();
  Tensor mean({channels}, wide, device), rstd({channels}, wide, device), mask;
  if (masked) mask = Tensor({(x.shape().numel() + 7) / 8}, DType::u8, device);
  Var y = make_output(Tensor(x.shape(), x.value.dtype(), device), {&x, &gamma, &beta, &residual});
  kernels(device).norm_act_forward(context(device), p, x.value, gamma.value, beta.value, residual.value, running_mean,
                                   running_var, y.value, mean, rstd, mask);
  if (!y.grad) return y;
  Tape::active()->record(y, [p, x, gamma, beta, residual = grad_only(residual), mean, rstd, mask](Tensor dy) {
    Tensor dresidual;
    if (residual.grad && p.activation != Activation::none) {
      dresidual = Tensor(dy.shape(), dy.dtype(), dy.device());
    } else if (residual.grad) {
      accumulate(residual, dy);  // no activation: the residual's gradient is dy itself
    }
    Tensor dx = dy.unique() ? dy : Tensor(dy.shape(), dy.dtype(), dy.device());
    Tensor dgamma = begin_sum(gamma), dbeta = begin_sum(beta);
    kernels(dy).norm_act_backward(context(dy.device()), p, x.value, mask, gamma.value, beta.value, mean, rstd, dy, dx,
                                  dresidual, dgamma, dbeta);
    dy = Tensor();
    end_sum(gamma, dgamma);
    end_sum(beta, dbeta);
    if (!dresidual.empty()) accumulate(residual, dresidual);
    accumulate(x, dx);
  });
  return y;
}

}  // namespace coss
