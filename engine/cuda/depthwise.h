// Depthwise convolutions in own kernels: a library's kernels take several times as long as the bytes need.
#pragma once
#include "engine/context.h"
#include "engine/kernel_params.h"
#include "engine/tensor.h"

namespace coss::cuda {

// As the lines conv2d_* of kernels.def say, for ConvParams::depthwise: w (R,S,C).
void depthwise_forward(Context& ctx, const ConvParams& p, Activation activation, const Tensor& x, const Tensor& w,
                       const Tensor& bias, const Tensor& residual, Tensor& y);  // bias and residual may be empty
void depthwise_dgrad(Context& ctx, const ConvParams& p, const Tensor& w, const Tensor& dy, Tensor& dx);
void depthwise_wgrad(Context& ctx, const ConvParams& p, const Tensor& x, const Tensor& dy, float beta, Tensor& dw);

}  // namespace coss::cuda
