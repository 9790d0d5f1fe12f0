// Bias, activation and accumulation after a matrix product, in one pass. Per element it moves the 4 bytes of x, which
// are still in the L2 cache, and the bytes of y. A thread has 8 neighboring elements of a row.
#include "engine/cuda/device.h"
#include "engine/cuda/library/matmul_epilogue.h"
#include "engine/dispatch.h"

namespace coss::cuda {
namespace {

constexpr int kThreads = 256;

// x is y in the in-place form (X is T then). kWhole: columns are a multiple of 8 and everything is aligned to 16 bytes;
// otherwise a thread's last elements may be missing.
template <class X, class T, Activation kAct, bool kWhole>
__global__ void __launch_bounds__(kThreads)
    epilogue(int64_t vectors, int columns, int per_row, float beta, const X* x, const float* bias, T* y) {
  const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= vectors) return;
  const int64_t row = i / per_row;
  const int column = int(i - row * per_row) * kVector, n = columns - column;
  const int64_t at = row * columns + column;
  float v[kVector], b[kVector], old[kVector];
  COSS_UNROLL
  for (int e = 0; e < kVector; ++e) b[e] = old[e] = 0;
  if constexpr (kWhole) {
    load(x + at, v);
    if (bias) load(bias + column, b);
    if (beta != 0) load(y + at, old);
  } else {
    load_part(x + at, n, v);
    if (bias) load_part(bias + column, n, b);
    if (beta != 0) load_part(y + at, n, old);
  }
  COSS_UNROLL
  for (int e = 0; e < kVector; ++e) v[e] = activated<kAct>(v[e] + b[e]) + beta * old[e];
  if constexpr (kWhole)
    store(y + at, v);
  else
    store_part(y + at, n, v);
}

template <class X, class T>
void run(Context& ctx, Activation activation, float beta, const X* x, const float* bias, int64_t rows, int64_t columns,
         T* y) {
  const int64_t per_row = (columns + kVector - 1) / kVector, vectors = rows * per_row;
  const bool whole = columns % kVector == 0 && aligned(x) && aligned(bias) && aligned(y);
  auto with = [&]<Activation kAct>() {
    launch(ctx, {"matmul_epilogue", blocks_for(vectors, kThreads), kThreads},
           whole ? epilogue<X, T, kAct, true> : epilogue<X, T, kAct, false>, vectors, int(columns), int(per_row), beta,
           x, bias, y);
  };
  if (activation == Activation::gelu)
    with.template operator()<Activation::gelu>();
  else if (activation == Activation::quick_gelu)
    with.template operator()<Activation::quick_gelu>();
  else
    dispatch_clipping(activation, with);
}

}  // namespace

void matmul_epilogue(Context& ctx, Activation activation, float beta, const float* x, const Tensor& bias, Tensor& y) {
  COSS_ASSERT(beta == 0 || (x && activation == Activation::none));
  if (y.numel() == 0) return;
  const float* b = bias.empty() ? nullptr : bias.data<float>();
  const int64_t rows = y.shape().rows(), columns = y.shape().back();
  dispatch("matmul", y.dtype(), [&]<class T>() {
    T* out = y.mutable_data<T>();
    if (x)
      run<float, T>(ctx, activation, beta, x, b, rows, columns, out);
    else
      run<T, T>(ctx, activation, beta, out, b, rows, columns, out);
  });
}

}  // namespace coss::cuda
