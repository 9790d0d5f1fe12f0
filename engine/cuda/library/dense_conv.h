// Convolutions that are not depthwise, by a library (cudnn.cpp; in the host-run build host/library.cpp).
#pragma once
#include "engine/context.h"
#include "engine/kernel_params.h"
#include "engine/tensor.h"

namespace coss::cuda {

// As the lines conv2d_* of kernels.def say.
void dense_forward(Context& ctx, const ConvParams& p, const Tensor& x, const Tensor& w, Tensor& y);
void dense_bias_act(Context& ctx, const ConvParams& p, Activation activation, const Tensor& x, const Tensor& w,
                    const Tensor& bias, const Tensor& residual, Tensor& y);
void dense_dgrad(Context& ctx, const ConvParams& p, const Tensor& w, const Tensor& dy, Tensor& dx);
void dense_wgrad(Context& ctx, const ConvParams& p, const Tensor& x, const Tensor& dy, float beta, Tensor& dw);

}  // namespace coss::cuda
