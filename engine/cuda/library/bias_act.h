// Kernels that complete a library's convolution: bias, residual and activation where the library does not fuse them,
// copies between widths and types, and the addition of a weight gradient. Device addresses of any alignment.
#pragma once
#include "engine/context.h"
#include "engine/kernel_params.h"

namespace coss::cuda {

// A dense matrix in device memory, or where it is to be written.
struct Rows {
  const void* data = nullptr;
  DType dtype = DType::f32;
  int64_t rows = 0, width = 0;
};

// y = act(y + bias + residual), y (rows, width) of a compute dtype, bias (width) f32; residual like y or null.
void add_bias_act(Context& ctx, Activation activation, const float* bias, const void* residual, const Rows& y);

// y = x, between compute dtypes. A wider y is filled up with zeros, a narrower one takes the first columns.
void copy_rows(Context& ctx, const Rows& x, const Rows& y);

// y = beta * y + x, both f32; of a wider x the first columns. x.data may be null: y = beta * y.
void add_rows(Context& ctx, float beta, const Rows& x, const Rows& y);

}  // namespace coss::cuda
