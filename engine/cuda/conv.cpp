// Convolution: depthwise ones run in own kernels, all others in the library.
#include "engine/cuda/depthwise.h"
#include "engine/cuda/library/dense_conv.h"
#include "engine/kernels.h"

namespace coss::cuda {

void conv2d_forward(Context& ctx, const ConvParams& p, const Tensor& x, const Tensor& w, Tensor& y) {
  if (p.depthwise) return depthwise_forward(ctx, p, Activation::none, x, w, Tensor(), Tensor(), y);
  dense_forward(ctx, p, x, w, y);
}

void conv2d_bias_act(Context& ctx, const ConvParams& p, Activation activation, const Tensor& x, const Tensor& w,
                     const Tensor& bias, const Tensor& residual, Tensor& y) {
  if (p.depthwise) return depthwise_forward(ctx, p, activation, x, w, bias, residual, y);
  dense_bias_act(ctx, p, activation, x, w, bias, residual, y);
}

void conv2d_dgrad(Context& ctx, const ConvParams& p, const Tensor& w, const Tensor& dy, Tensor& dx) {
  if (p.depthwise) return depthwise_dgrad(ctx, p, w, dy, dx);
  dense_dgrad(ctx, p, w, dy, dx);
}

void conv2d_wgrad(Context& ctx, const ConvParams& p, const Tensor& x, const Tensor& dy, float beta, Tensor& dw) {
  if (p.depthwise) return depthwise_wgrad(ctx, p, x, dy, beta, dw);
  dense_wgrad(ctx, p, x, dy, beta, dw);
}

}  // namespace coss::cuda
