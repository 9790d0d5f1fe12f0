// Kernels that pass once over the rows of a matrix. Bytes moved: add_bias_act reads and writes y once and reads the
// residual once, copy_rows and add_rows move each matrix once. A thread keeps its columns (and their bias) for a few
// rows, so it needs one division; neighboring threads read neighboring 16 bytes. Where rows do not divide into vectors
// of 8, or an address is not aligned to 16 bytes, a thread has one column.
#include <algorithm>

#include "engine/cuda/device.h"
#include "engine/cuda/library/bias_act.h"
#include "engine/dispatch.h"

namespace coss::cuda {
namespace {

constexpr int64_t kThreads = 256;
constexpr int kRowsEach = 4;  // rows that a thread loads before it stores the first

// How a block's threads cover the matrix: `columns` threads along a row, and kThreads / columns rows. `groups` is the
// number of vectors in a row.
struct Tiling {
  int64_t rows, groups;
  int columns, down;

  Tiling(int64_t row_count, int64_t group_count)
      : rows(row_count),
        groups(group_count),
        columns(int(std::min(kThreads, group_count))),
        down(int(kThreads) / columns) {}
  Grid grid(const char* name) const {
    // Blocks of one column of tiles have neighboring numbers; a grid's y dimension is at most 65535.
    const unsigned across = blocks_for(groups, columns);
    COSS_ASSERT(across < 65536);
    return {name, dim3(blocks_for(rows, int64_t(down) * kRowsEach), across), dim3(unsigned(columns * down))};
  }
};

// This thread's first row and its vector in the row; its other rows are `down` apart.
struct Place {
  int64_t row, group;
};
__device__ inline Place place_of(const Tiling& tiling) {
  const int at = int(threadIdx.x);
  return {int64_t(blockIdx.x) * tiling.down * kRowsEach + at / tiling.columns,
          int64_t(blockIdx.y) * tiling.columns + at % tiling.columns};
}

template <class T, int N, Activation kAct>
__global__ void __launch_bounds__(kThreads) bias_act_kernel(Tiling tiling, const float* bias, const T* residual, T* y) {
  const Place place = place_of(tiling);
  if (place.group >= tiling.groups) return;
  float b[N];
  load<N>(bias + place.group * N, b);
  float value[kRowsEach][N];
  COSS_UNROLL
  for (int i = 0; i < kRowsEach; ++i) {
    const int64_t row = place.row + int64_t(i) * tiling.down;
    if (row < tiling.rows) load<N>(y + (row * tiling.groups + place.group) * N, value[i]);
  }
  COSS_UNROLL
  for (int i = 0; i < kRowsEach; ++i) {
    const int64_t row = place.row + int64_t(i) * tiling.down;
    if (row >= tiling.rows) return;
    const int64_t at = (row * tiling.groups + place.group) * N;
    if (residual) {
      float r[N];
      load<N>(residual + at, r);
      COSS_UNROLL
      for (int e = 0; e < N; ++e) value[i][e] += r[e];
    }
    COSS_UNROLL
    for (int e = 0; e < N; ++e) value[i][e] = activated<kAct>(value[i][e] + b[e]);
    store<N>(y + at, value[i]);
  }
}

// The vectors of y's rows; x has rows of x_width.
template <class X, class Y, int N>
__global__ void __launch_bounds__(kThreads)
    copy_rows_kernel(Tiling tiling, int64_t x_width, int64_t y_width, const X* x, Y* y) {
  const Place place = place_of(tiling);
  if (place.group >= tiling.groups) return;
  const int64_t column = place.group * N;
  const int there = int(x_width <= column ? 0 : (x_width - column < N ? x_width - column : N));
  COSS_UNROLL
  for (int i = 0; i < kRowsEach; ++i) {
    const int64_t row = place.row + int64_t(i) * tiling.down;
    if (row >= tiling.rows) return;
    float value[N];
    load_part<N>(x + row * x_width + column, there, value);
    store<N>(y + row * y_width + column, value);
  }
}

// x and y without padding, as rows of one vector.
template <class X, class Y, int N>
__global__ void __launch_bounds__(kThreads) copy_kernel(Tiling tiling, const X* x, Y* y) {
  const Place place = place_of(tiling);
  float value[kRowsEach][N];
  COSS_UNROLL
  for (int i = 0; i < kRowsEach; ++i) {
    const int64_t row = place.row + int64_t(i) * tiling.down;
    if (row < tiling.rows) load<N>(x + row * N, value[i]);
  }
  COSS_UNROLL
  for (int i = 0; i < kRowsEach; ++i) {
    const int64_t row = place.row + int64_t(i) * tiling.down;
    if (row < tiling.rows) store<N>(y + row * N, value[i]);
  }
}

template <int N>
__global__ void __launch_bounds__(kThreads)
    add_rows_kernel(Tiling tiling, float beta, int64_t x_width, const float* x, float* y) {
  const Place place = place_of(tiling);
  if (place.group >= tiling.groups) return;
  COSS_UNROLL
  for (int i = 0; i < kRowsEach; ++i) {
    const int64_t row = place.row + int64_t(i) * tiling.down;
    if (row >= tiling.rows) return;
    float sum[N], old[N];
    COSS_UNROLL
    for (int e = 0; e < N; ++e) sum[e] = 0;
    if (x) load<N>(x + row * x_width + place.group * N, sum);
    float* const out = y + (row * tiling.groups + place.group) * N;
    if (beta != 0) {
      load<N>(out, old);
      COSS_UNROLL
      for (int e = 0; e < N; ++e) sum[e] += beta * old[e];
    }
    store<N>(out, sum);
  }
}

template <class T>
T* of(const Rows& matrix) {
  return static_cast<T*>(const_cast<void*>(matrix.data));
}

template <class T, int N>
void launch_bias_act(Context& ctx, Activation activation, const float* bias, const T* residual, const Rows& y) {
  const Tiling tiling(y.rows, y.width / N);
  dispatch_fused(activation, [&]<Activation kAct>() {
    launch(ctx, tiling.grid("add_bias_act"), bias_act_kernel<T, N, kAct>, tiling, bias, residual, of<T>(y));
  });
}

template <int N>
void launch_add_rows(Context& ctx, float beta, int64_t x_width, const float* x, float* y, int64_t rows,
                     int64_t groups) {
  const Tiling tiling(rows, groups);
  launch(ctx, tiling.grid("add_rows"), add_rows_kernel<N>, tiling, beta, x_width, x, y);
}

}  // namespace

void add_bias_act(Context& ctx, Activation activation, const float* bias, const void* residual, const Rows& y) {
  if (y.rows == 0 || y.width == 0) return;
  const bool vectors = y.width % kVector == 0 && aligned(bias) && aligned(residual) && aligned(y.data);
  dispatch("add_bias_act", y.dtype, [&]<class T>() {
    const T* added = static_cast<const T*>(residual);
    if (vectors)
      launch_bias_act<T, kVector>(ctx, activation, bias, added, y);
    else
      launch_bias_act<T, 1>(ctx, activation, bias, added, y);
  });
}

void copy_rows(Context& ctx, const Rows& x, const Rows& y) {
  COSS_ASSERT(x.rows == y.rows);
  if (y.rows == 0 || y.width == 0) return;
  dispatch("copy_rows", x.dtype, y.dtype, [&]<class X, class Y>() {
    if (x.width == y.width) {
      const int64_t count = x.rows * x.width;
      const bool vectors = count % kVector == 0 && aligned(x.data) && aligned(y.data);
      const Tiling tiling(vectors ? count / kVector : count, 1);
      if (vectors)
        launch(ctx, tiling.grid("copy_rows"), copy_kernel<X, Y, kVector>, tiling, of<X>(x), of<Y>(y));
      else
        launch(ctx, tiling.grid("copy_rows"), copy_kernel<X, Y, 1>, tiling, of<X>(x), of<Y>(y));
    } else if (y.width % kVector == 0 && aligned(y.data)) {
      const Tiling tiling(y.rows, y.width / kVector);
      launch(ctx, tiling.grid("copy_rows"), copy_rows_kernel<X, Y, kVector>, tiling, x.width, y.width, of<X>(x),
             of<Y>(y));
    } else {
      const Tiling tiling(y.rows, y.width);
      launch(ctx, tiling.grid("copy_rows"), copy_rows_kernel<X, Y, 1>, tiling, x.width, y.width, of<X>(x), of<Y>(y));
    }
  });
}

void add_rows(Context& ctx, float beta, const Rows& x, const Rows& y) {
  COSS_ASSERT(x.dtype == DType::f32 && y.dtype == DType::f32);
  COSS_ASSERT(!x.data || (x.rows == y.rows && x.width >= y.width));
  const int64_t count = y.rows * y.width;
  if (count == 0) return;
  const bool vectors = aligned(x.data) && aligned(y.data);
  if ((!x.data || x.width == y.width) && count % kVector == 0 && vectors)
    launch_add_rows<kVector>(ctx, beta, kVector, of<float>(x), of<float>(y), count / kVector, 1);
  else
    launch_add_rows<1>(ctx, beta, x.width, of<float>(x), of<float>(y), y.rows, y.width);
}

}  // namespace coss::cuda
