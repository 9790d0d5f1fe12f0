// Sums over rows, sums of squares, and rows scaled to unit length. Each reads its input once from memory
// (normalize_rows reads a row again from the cache) and adds in a fixed order, so that runs repeat bit for bit.
#include "engine/cuda/columns.h"
#include "engine/cuda/device.h"
#include "engine/dispatch.h"
#include "engine/kernels.h"

namespace coss::cuda {

namespace {

// beta * y; with beta == 0 it is 0 whatever the memory holds.
__device__ inline double kept(float beta, const float* y) { return beta == 0 ? 0 : double(beta) * double(*y); }

// --- sum_rows --------------------------------------------------------------------------------------------------------

template <class T, int N>
__global__ void __launch_bounds__(kSumThreads, kSumBlocks) sum_rows_kernel(Tiles tiles, const T* x, float* partials) {
  const unsigned tile = blockIdx.x % tiles.side, b = blockIdx.x / tiles.side;
  const Place place = place_of<N>(tiles, tile, b);
  const int64_t step = tiles.down * tiles.columns;
  float sums[N] = {};
  for_rows<kRowsInFlight<T, N, 1>>(tiles, place, [&](auto count, int64_t i) {
    constexpr int kCount = decltype(count)::value;
    float in[kCount][N];
    COSS_UNROLL
    for (int u = 0; u < kCount; ++u) load<N>(x + i + u * step, in[u]);
    COSS_UNROLL
    for (int u = 0; u < kCount; ++u) {
      COSS_UNROLL
      for (int j = 0; j < N; ++j) sums[j] += in[u][j];
    }
  });
  write_partials<1, N>(tiles, tile, b, sums, partials);
}

__global__ void __launch_bounds__(kFinishThreads)
    sum_rows_finish_kernel(const float* partials, int count, int64_t columns, float beta, float* y) {
  finish_columns<1, kFinishThreads>(
      partials, count, columns, int64_t(blockIdx.x) * kFinishColumns, kFinishColumns,
      [=](int64_t c, const double(&sums)[1]) { y[c] = float(kept(beta, y + c) + sums[0]); });
}

// --- sum_squares -----------------------------------------------------------------------------------------------------

constexpr int kSquareThreads = 512;

// Elements before the first aligned one and after the last whole vector belong to the first block.
template <class T>
__global__ void __launch_bounds__(kSquareThreads)
    sum_squares_kernel(const T* x, int head, int64_t vectors, int tail, double* partials) {
  const T* body = x + head;
  const int t = int(threadIdx.x);
  float sums[kVector] = {};
  const int64_t step = int64_t(gridDim.x) * kSquareThreads;
  constexpr int kUnroll = kRowsInFlight<T, kVector, 1>;
  int64_t i = int64_t(blockIdx.x) * kSquareThreads + t;
  for (; i + (kUnroll - 1) * step < vectors; i += kUnroll * step) {
    float in[kUnroll][kVector];
    COSS_UNROLL
    for (int u = 0; u < kUnroll; ++u) load<kVector>(body + (i + u * step) * kVector, in[u]);
    COSS_UNROLL
    for (int u = 0; u < kUnroll; ++u) {
      COSS_UNROLL
      for (int j = 0; j < kVector; ++j) sums[j] += in[u][j] * in[u][j];
    }
  }
  for (; i < vectors; i += step) {
    float in[kVector];
    load<kVector>(body + i * kVector, in);
    COSS_UNROLL
    for (int j = 0; j < kVector; ++j) sums[j] += in[j] * in[j];
  }
  if (blockIdx.x == 0 && t < head + tail) {
    const float value = to_float(t < head ? x[t] : body[vectors * kVector + t - head]);
    sums[0] += value * value;
  }
  double total = 0;
  COSS_UNROLL
  for (int j = 0; j < kVector; ++j) total += double(sums[j]);
  total = block_sum<kSquareThreads>(total);
  if (t == 0) partials[blockIdx.x] = total;
}

__global__ void __launch_bounds__(kSquareThreads)
    sum_squares_finish_kernel(const double* partials, int count, float beta, float* y) {
  double total = 0;
  for (int i = int(threadIdx.x); i < count; i += kSquareThreads) total += partials[i];
  total = block_sum<kSquareThreads>(total);
  if (threadIdx.x == 0) *y = float(kept(beta, y) + total);
}

// --- normalize_rows --------------------------------------------------------------------------------------------------

constexpr int kRowThreads = 256;
constexpr int64_t kWarpRow = 2048;  // longest row of one warp: 64 elements a lane

template <class X, class Y, int N, bool kWarpEach>
__global__ void __launch_bounds__(kRowThreads)
    normalize_rows_kernel(const X* x, int64_t rows, int64_t columns, float eps, Y* y) {
  constexpr int kThreads = kWarpEach ? kWarp : kRowThreads;  // of one row
  const int64_t row = int64_t(blockIdx.x) * (kRowThreads / kThreads) + threadIdx.x / kThreads;
  if (row >= rows) return;  // whole warps, or no thread at all where the block shares a row
  const X* in = x + row * columns;
  Y* out = y + row * columns;
  const int64_t first = int64_t(threadIdx.x) % kThreads * N;
  float square = 0;
  COSS_UNROLL
  for (int64_t c = first; c < columns; c += kThreads * N) {
    float value[N];
    load<N>(in + c, value);
    COSS_UNROLL
    for (int j = 0; j < N; ++j) square += value[j] * value[j];
  }
  if constexpr (kWarpEach)
    square = warp_sum(square);
  else
    square = block_sum<kRowThreads>(square);
  const float factor = 1.0f / fmaxf(sqrtf(square), eps);
  COSS_UNROLL
  for (int64_t c = first; c < columns; c += kThreads * N) {
    float value[N];
    load<N>(in + c, value);
    COSS_UNROLL
    for (int j = 0; j < N; ++j) value[j] *= factor;
    if constexpr (N == kVector)
      store(out + c, value);
    else
      store<N>(out + c, value);
  }
}

// dx = (dy - u (u, dy)) / |x|, u = x / |x|; rows shorter than eps were only divided by eps.
template <class X, class Y, int N, bool kWarpEach>
__global__ void __launch_bounds__(kRowThreads, 3)
    normalize_rows_backward_kernel(const X* x, const Y* dy, int64_t rows, int64_t columns, float eps, X* dx) {
  constexpr int kThreads = kWarpEach ? kWarp : kRowThreads;  // of one row
  const int64_t row = int64_t(blockIdx.x) * (kRowThreads / kThreads) + threadIdx.x / kThreads;
  if (row >= rows) return;
  const X* in = x + row * columns;
  const Y* gradient = dy + row * columns;
  const int64_t first = int64_t(threadIdx.x) % kThreads * N;
  float square = 0, product = 0;
  for (int64_t c = first; c < columns; c += kThreads * N) {
    float value[N], slope[N];
    load<N>(in + c, value);
    load<N>(gradient + c, slope);
    COSS_UNROLL
    for (int j = 0; j < N; ++j) {
      square += value[j] * value[j];
      product += value[j] * slope[j];
    }
  }
  if constexpr (kWarpEach) {
    square = warp_sum(square);
    product = warp_sum(product);
  } else {
    square = block_sum<kRowThreads>(square);
    product = block_sum<kRowThreads>(product);
  }
  const float norm = sqrtf(square), factor = 1.0f / fmaxf(norm, eps);
  const float back = norm > eps ? product * factor * factor : 0.0f;
  for (int64_t c = first; c < columns; c += kThreads * N) {
    float value[N], slope[N];
    load<N>(in + c, value);
    load<N>(gradient + c, slope);
    COSS_UNROLL
    for (int j = 0; j < N; ++j) slope[j] = (slope[j] - value[j] * back) * factor;
    store<N>(dx + row * columns + c, slope);
  }
}

}  // namespace

void sum_rows(Context& ctx, float beta, const Tensor& x, Tensor& y) {
  const int64_t columns = y.numel();
  if (columns == 0) return;
  const int64_t rows = x.numel() / columns;
  float* out = y.mutable_data<float>();
  dispatch("sum_rows", x.dtype(), [&]<class T>() {
    auto run = [&]<int N>() {
      const Tiles tiles = sum_tiles<N>(ctx, rows, columns, int64_t(x.bytes()), kRowsInFlight<T, N, 1>);
      float* partials =
          static_cast<float*>(ctx.workspace(std::max<size_t>(1, size_t(tiles.count * columns) * sizeof(float))));
      if (rows > 0)
        launch(ctx, {"sum_rows", tiles.blocks(), kSumThreads}, sum_rows_kernel<T, N>, tiles, x.data<T>(), partials);
      launch(ctx, {"sum_rows_finish", blocks_for(columns, kFinishColumns), kFinishThreads}, sum_rows_finish_kernel,
             partials, int(tiles.count), columns, beta, out);
    };
    if (columns % kVector == 0 && aligned(x.raw()))
      run.template operator()<kVector>();
    else
      run.template operator()<1>();
  });
}

void sum_squares(Context& ctx, float beta, const Tensor& x, Tensor& y) {
  float* out = y.mutable_data<float>();
  dispatch("sum_squares", x.dtype(), [&]<class T>() {
    const int64_t numel = x.numel();
    const T* in = numel > 0 ? x.data<T>() : nullptr;
    const int64_t past = int64_t(reinterpret_cast<uintptr_t>(in) % 16 / sizeof(T));
    const int64_t head = past == 0 ? 0 : std::min(numel, int64_t(16 / sizeof(T)) - past);
    const int64_t vectors = (numel - head) / kVector, tail = numel - head - vectors * kVector;
    const int64_t per_block = int64_t(kSquareThreads) * kRowsInFlight<T, kVector, 1>;
    const unsigned blocks = unsigned(std::min<int64_t>(blocks_for(vectors, per_block), 4 * multiprocessors(ctx)));
    double* partials = static_cast<double*>(ctx.workspace(blocks * sizeof(double)));
    if (numel > 0)
      launch(ctx, {"sum_squares", blocks, kSquareThreads}, sum_squares_kernel<T>, in, int(head), vectors, int(tail),
             partials);
    launch(ctx, {"sum_squares_finish", 1, kSquareThreads}, sum_squares_finish_kernel, partials,
           numel > 0 ? int(blocks) : 0, beta, out);
  });
}

void normalize_rows(Context& ctx, float eps, const Tensor& x, Tensor& y) {
  if (x.numel() == 0) return;
  const int64_t rows = x.shape().rows(), columns = x.shape().back();
  dispatch("normalize_rows", x.dtype(), y.dtype(), [&]<class X, class Y>() {
    const X* in = x.data<X>();
    Y* out = y.mutable_data<Y>();
    auto run = [&]<int N>() {
      if (columns <= kWarpRow)
        launch(ctx, {"normalize_rows", blocks_for(rows, kRowThreads / kWarp), kRowThreads},
               normalize_rows_kernel<X, Y, N, true>, in, rows, columns, eps, out);
      else
        launch(ctx, {"normalize_rows", blocks_for(rows, 1), kRowThreads}, normalize_rows_kernel<X, Y, N, false>, in,
               rows, columns, eps, out);
    };
    if (columns % kVector == 0 && aligned(in) && aligned(out))
      run.template operator()<kVector>();
    else
      run.template operator()<1>();
  });
}

void normalize_rows_backward(Context& ctx, float eps, const Tensor& x, const Tensor& dy, Tensor& dx) {
  if (x.numel() == 0) return;
  const int64_t rows = x.shape().rows(), columns = x.shape().back();
  dispatch("normalize_rows_backward", x.dtype(), dy.dtype(), [&]<class X, class Y>() {
    const X* in = x.data<X>();
    const Y* gradient = dy.data<Y>();
    X* out = dx.mutable_data<X>();
    auto run = [&]<int N>() {
      if (columns <= kWarpRow)
        launch(ctx, {"normalize_rows_backward", blocks_for(rows, kRowThreads / kWarp), kRowThreads},
               normalize_rows_backward_kernel<X, Y, N, true>, in, gradient, rows, columns, eps, out);
      else
        launch(ctx, {"normalize_rows_backward", blocks_for(rows, 1), kRowThreads},
               normalize_rows_backward_kernel<X, Y, N, false>, in, gradient, rows, columns, eps, out);
    };
    if (columns % kVector == 0 && aligned(in) && aligned(gradient) && aligned(out))
      run.template operator()<kVector>();
    else
      run.template operator()<1>();
  });
}

}  // namespace coss::cuda
