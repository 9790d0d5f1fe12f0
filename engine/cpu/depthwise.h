// Weight gradients of wide depthwise convolutions: oneDNN has fast kernels for 3x3 windows only.
#pragma once
#include "engine/context.h"
#include "engine/kernel_params.h"
#include "engine/tensor.h"

namespace coss::cpu {

bool has_depthwise_wgrad(const ConvParams& p, const Shape& w);
// As the kernel conv2d_wgrad.
void depthwise_wgrad(Context& ctx, const ConvParams& p, const Tensor& x, const Tensor& dy, float beta, Tensor& dw);

}  // namespace coss::cpu
