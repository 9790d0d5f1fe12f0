// Small operations on the rows of a matrix, for losses. Each input is read once from memory and the output written
// once; a row is read again from the cache. A block has one row; transposition moves squares of 32 x 32 through shared
// memory.
#include "engine/cuda/device.h"
#include "engine/dispatch.h"
#include "engine/kernels.h"

namespace coss::cuda {
namespace {

constexpr int kThreads = 256;

template <class T>
__global__ void __launch_bounds__(kThreads) center_row(const T* x, T* y, int64_t width) {
  const T* from = x + blockIdx.x * width;
  T* to = y + blockIdx.x * width;
  float own = 0;
  for (int64_t i = threadIdx.x; i < width; i += kThreads) own += to_float(from[i]);
  const float mean = float(block_sum<kThreads>(double(own)) / double(width));
  for (int64_t i = threadIdx.x; i < width; i += kThreads) to[i] = from_float<T>(to_float(from[i]) - mean);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    softmax_gradient(const T* y, const T* dy, T* dx, int64_t width, float inverse) {
  const int64_t first = blockIdx.x * width;
  float own = 0;
  for (int64_t i = threadIdx.x; i < width; i += kThreads) own += to_float(y[first + i]) * to_float(dy[first + i]);
  const float mean = float(block_sum<kThreads>(double(own)));
  for (int64_t i = threadIdx.x; i < width; i += kThreads)
    dx[first + i] = from_float<T>(to_float(y[first + i]) * ((to_float(dy[first + i]) - mean) * inverse));
}

constexpr int kSquare = 32, kDown = kThreads / kSquare;  // a thread takes every eighth row of its column

template <class T>
__global__ void __launch_bounds__(kThreads)
    transpose_square(const T* x, T* y, int64_t rows, int64_t columns, int64_t squares_across) {
  COSS_SHARED(float, square, kSquare*(kSquare + 1));  // one more element per row: no bank conflicts in columns
  const int64_t top = blockIdx.x / squares_across * kSquare, left = blockIdx.x % squares_across * kSquare;
  const int across = int(threadIdx.x) % kSquare, down = int(threadIdx.x) / kSquare;
  for (int r = down; r < kSquare; r += kDown)
    if (top + r < rows && left + across < columns)
      square[r * (kSquare + 1) + across] = to_float(x[(top + r) * columns + left + across]);
  __syncthreads();
  for (int c = down; c < kSquare; c += kDown) {
    if (left + c >= columns || top + across >= rows) continue;
    const float value = square[across * (kSquare + 1) + c];
    y[(left + c) * rows + top + across] = from_float<T>(value);
  }
}

}  // namespace

void center_rows(Context& ctx, const Tensor& x, Tensor& y) {
  if (x.numel() == 0) return;
  dispatch("center_rows", x.dtype(), [&]<class T>() {
    launch(ctx, {"center_rows", unsigned(x.shape().rows()), kThreads}, center_row<T>, x.data<T>(), y.mutable_data<T>(),
           x.shape().back());
  });
}

void softmax_backward(Context& ctx, float temperature, const Tensor& y, const Tensor& dy, Tensor& dx) {
  COSS_CHECK(temperature > 0, "[softmax_backward] the temperature must be positive");
  if (y.numel() == 0) return;
  dispatch("softmax_backward", y.dtype(), [&]<class T>() {
    launch(ctx, {"softmax_backward", unsigned(y.shape().rows()), kThreads}, softmax_gradient<T>, y.data<T>(),
           dy.data<T>(), dx.mutable_data<T>(), y.shape().back(), 1 / temperature);
  });
}

void transpose(Context& ctx, const Tensor& x, Tensor& y) {
  if (x.numel() == 0) return;
  const int64_t rows = x.shape()[0], columns = x.shape()[1];
  const int64_t across = (columns + kSquare - 1) / kSquare, down = (rows + kSquare - 1) / kSquare;
  COSS_ASSERT(across * down < int64_t(1) << 31);
  dispatch("transpose", x.dtype(), [&]<class T>() {
    launch(ctx, {"transpose", unsigned(across * down), kThreads}, transpose_square<T>, x.data<T>(), y.mutable_data<T>(),
           rows, columns, across);
  });
}

}  // namespace coss::cuda
