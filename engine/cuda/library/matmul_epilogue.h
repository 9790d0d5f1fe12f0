// The operations after a matrix product that the library cannot fuse: fp32 biases of 16-bit outputs, and activations
// other than relu (its GELU is the tanh approximation).
#pragma once
#include "engine/context.h"
#include "engine/kernel_params.h"
#include "engine/tensor.h"

namespace coss::cuda {

// y = act(x + bias) + beta * y in y's layout (rows, columns). x: f32, or null for y itself, then beta is 0; bias: f32
// (columns), or empty. Activation only with beta == 0.
void matmul_epilogue(Context& ctx, Activation activation, float beta, const float* x, const Tensor& bias, Tensor& y);

}  // namespace coss::cuda
