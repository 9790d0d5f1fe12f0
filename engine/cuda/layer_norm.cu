// Layer norm. Up to kWidest columns a warp has a row in its registers, so x is read once and y written once, which is
// the least possible. Backward reads x and dy once, writes dx, and leaves the sums for dgamma and dbeta as one row of
// partial sums per block (columns.h), which a second kernel adds in double. Wider rows, and rows that are not aligned,
// get a block each and are read again from the cache.
#include <algorithm>
#include <initializer_list>

#include "engine/cuda/columns.h"
#include "engine/cuda/device.h"
#include "engine/dispatch.h"
#include "engine/kernels.h"

namespace coss::cuda {
namespace {

constexpr int kNormThreads = 128, kNormWarps = kNormThreads / kWarp;
constexpr int kMostVectors = 4;  // of kVector elements in a lane
constexpr int64_t kWidest = kMostVectors * kVector * kWarp;
constexpr int kWideThreads = 256;

// gamma and beta are anywhere in a flat buffer of parameters, so they may not be aligned.
struct Weights {
  const float* values;
  bool vectors;
};
__device__ inline void load_weights(const Weights& w, int column, float (&out)[kVector]) {
  if (w.vectors)
    load<kVector>(w.values + column, out);
  else
    load_part<kVector>(w.values + column, kVector, out);
}
Weights weights_of(const float* values) { return {values, aligned(values)}; }

// --- a warp a row --------------------------------------------------------------------------------------------------

// A lane's vector v begins at column (v * 32 + lane) * kVector; V of them cover the row.
__device__ inline int column_of(int v) { return (v * kWarp + int(threadIdx.x) % kWarp) * kVector; }

// Loads into an array of zeros, which stay after the end of the row.
template <int V, class T>
__device__ inline void load_row(const T* row, int columns, float (&out)[V][kVector]) {
  COSS_UNROLL
  for (int v = 0; v < V; ++v)
    if (column_of(v) < columns) load<kVector>(row + column_of(v), out[v]);
}

template <class T, int V>
__global__ void __launch_bounds__(kNormThreads)
    layer_norm_kernel(const T* x, int64_t rows, int columns, float eps, Weights gamma, Weights beta, T* y, float* mean,
                      float* rstd) {
  const int64_t row = int64_t(blockIdx.x) * kNormWarps + threadIdx.x / kWarp;
  if (row >= rows) return;  // a whole warp
  float values[V][kVector] = {};
  load_row<V>(x + row * columns, columns, values);
  float sum = 0;
  COSS_UNROLL
  for (int v = 0; v < V; ++v) {
    COSS_UNROLL
    for (int j = 0; j < kVector; ++j) sum += values[v][j];
  }
  const float center = warp_sum(sum) / float(columns);
  float squares = 0;
  COSS_UNROLL
  for (int v = 0; v < V; ++v) {
    if (column_of(v) >= columns) continue;
    COSS_UNROLL
    for (int j = 0; j < kVector; ++j) squares += (values[v][j] - center) * (values[v][j] - center);
  }
  const float factor = 1.0f / sqrtf(warp_sum(squares) / float(columns) + eps);
  COSS_UNROLL
  for (int v = 0; v < V; ++v) {
    const int column = column_of(v);
    if (column >= columns) continue;
    float scale[kVector], shift[kVector];
    load_weights(gamma, column, scale);
    load_weights(beta, column, shift);
    COSS_UNROLL
    for (int j = 0; j < kVector; ++j) values[v][j] = (values[v][j] - center) * factor * scale[j] + shift[j];
    store<kVector>(y + row * columns + column, values[v]);
  }
  if (threadIdx.x % kWarp == 0) {
    mean[row] = center;
    rstd[row] = factor;
  }
}

// Adds the sums of each lane over the block's warps, one warp after the other, into a row of partials. Elements of a
// vector are 32 apart in shared memory, which avoids bank conflicts.
template <int V>
__device__ inline void write_lane_sums(const float (&sums)[V][kVector], int columns, float* partials) {
  COSS_SHARED(float, shared, V* kVector* kWarp);
  const int lane = int(threadIdx.x) % kWarp, warp = int(threadIdx.x) / kWarp;
  for (int turn = 0; turn < kNormWarps; ++turn) {
    if (turn == warp) {
      COSS_UNROLL
      for (int v = 0; v < V; ++v) {
        COSS_UNROLL
        for (int j = 0; j < kVector; ++j) {
          const int at = (v * kVector + j) * kWarp + lane;
          if (turn == 0)
            shared[at] = sums[v][j];
          else
            shared[at] += sums[v][j];
        }
      }
    }
    __syncthreads();
  }
  for (int c = int(threadIdx.x); c < columns; c += kNormThreads) {
    const int vector = c / kVector;
    partials[c] = shared[(vector / kWarp * kVector + c % kVector) * kWarp + vector % kWarp];
  }
  __syncthreads();  // shared may be written again
}

// A block's row of partials holds the sums for dgamma, then those for dbeta. dx may be dy: a lane reads its elements
// before it writes them.
template <class T, int V>
__global__ void __launch_bounds__(kNormThreads, V <= 3 ? 4 : 3)
    layer_norm_backward_kernel(const T* x, int64_t rows, int columns, Weights gamma, const float* mean,
                               const float* rstd, const T* dy, T* dx, float* partials) {
  float gamma_sums[V][kVector] = {}, beta_sums[V][kVector] = {};
  const float inverse = 1.0f / float(columns);
  const int64_t step = int64_t(gridDim.x) * kNormWarps;
  for (int64_t row = int64_t(blockIdx.x) * kNormWarps + threadIdx.x / kWarp; row < rows; row += step) {
    float normal[V][kVector] = {}, slope[V][kVector] = {};
    load_row<V>(x + row * columns, columns, normal);
    load_row<V>(dy + row * columns, columns, slope);
    const float center = mean[row], factor = rstd[row];
    float sum = 0, product = 0;
    COSS_UNROLL
    for (int v = 0; v < V; ++v) {
      const int column = column_of(v);
      if (column >= columns) continue;
      float scale[kVector];
      load_weights(gamma, column, scale);
      COSS_UNROLL
      for (int j = 0; j < kVector; ++j) {
        normal[v][j] = (normal[v][j] - center) * factor;
        gamma_sums[v][j] += slope[v][j] * normal[v][j];
        beta_sums[v][j] += slope[v][j];
        slope[v][j] *= scale[j];
        sum += slope[v][j];
        product += slope[v][j] * normal[v][j];
      }
    }
    sum = warp_sum(sum) * inverse;
    product = warp_sum(product) * inverse;
    COSS_UNROLL
    for (int v = 0; v < V; ++v) {
      if (column_of(v) >= columns) continue;
      COSS_UNROLL
      for (int j = 0; j < kVector; ++j) slope[v][j] = factor * (slope[v][j] - sum - normal[v][j] * product);
      store<kVector>(dx + row * columns + column_of(v), slope[v]);
    }
  }
  float* out = partials + int64_t(blockIdx.x) * 2 * columns;
  write_lane_sums<V>(gamma_sums, columns, out);
  write_lane_sums<V>(beta_sums, columns, out + columns);
}

// --- a block a row -------------------------------------------------------------------------------------------------

template <class T>
__global__ void __launch_bounds__(kWideThreads)
    wide_layer_norm_kernel(const T* x, int64_t columns, float eps, const float* gamma, const float* beta, T* y,
                           float* mean, float* rstd) {
  const int64_t row = blockIdx.x;
  const T* in = x + row * columns;
  float sum = 0;
  for (int64_t c = threadIdx.x; c < columns; c += kWideThreads) sum += to_float(in[c]);
  const float center = block_sum<kWideThreads>(sum) / float(columns);
  float squares = 0;
  for (int64_t c = threadIdx.x; c < columns; c += kWideThreads) {
    const float difference = to_float(in[c]) - center;
    squares += difference * difference;
  }
  const float factor = 1.0f / sqrtf(block_sum<kWideThreads>(squares) / float(columns) + eps);
  for (int64_t c = threadIdx.x; c < columns; c += kWideThreads)
    y[row * columns + c] = from_float<T>((to_float(in[c]) - center) * factor * gamma[c] + beta[c]);
  if (threadIdx.x == 0) {
    mean[row] = center;
    rstd[row] = factor;
  }
}

template <class T>
__global__ void __launch_bounds__(kWideThreads)
    wide_layer_norm_backward_kernel(const T* x, int64_t columns, const float* gamma, const float* mean,
                                    const float* rstd, const T* dy, T* dx) {
  const int64_t row = blockIdx.x;
  const T *in = x + row * columns, *gradient = dy + row * columns;
  const float center = mean[row], factor = rstd[row];
  float sum = 0, product = 0;
  for (int64_t c = threadIdx.x; c < columns; c += kWideThreads) {
    const float slope = to_float(gradient[c]) * gamma[c];
    sum += slope;
    product += slope * ((to_float(in[c]) - center) * factor);
  }
  sum = block_sum<kWideThreads>(sum) / float(columns);
  product = block_sum<kWideThreads>(product) / float(columns);
  for (int64_t c = threadIdx.x; c < columns; c += kWideThreads) {
    const float normal = (to_float(in[c]) - center) * factor;
    dx[row * columns + c] = from_float<T>(factor * (to_float(gradient[c]) * gamma[c] - sum - normal * product));
  }
}

template <class T>
__global__ void __launch_bounds__(kSumThreads, kSumBlocks)
    wide_layer_norm_sums_kernel(Tiles tiles, const T* x, const float* mean, const float* rstd, const T* dy,
                                float* partials) {
  const unsigned tile = blockIdx.x % tiles.side, b = blockIdx.x / tiles.side;
  const Place place = place_of<1>(tiles, tile, b);
  float sums[2] = {};
  for (int64_t row = place.first; row < place.end; row += tiles.down) {
    const int64_t i = row * tiles.columns + place.column;
    const float slope = to_float(dy[i]);
    sums[0] += slope * ((to_float(x[i]) - mean[row]) * rstd[row]);
    sums[1] += slope;
  }
  write_partials<2, 1>(tiles, tile, b, sums, partials);
}

// --- both ----------------------------------------------------------------------------------------------------------

__global__ void __launch_bounds__(kFinishThreads)
    layer_norm_finish_kernel(const float* partials, int count, int64_t columns, float* dgamma, float* dbeta) {
  finish_columns<2, kFinishThreads>(partials, count, columns, int64_t(blockIdx.x) * kFinishColumns, kFinishColumns,
                                    [=](int64_t c, const double(&sums)[2]) {
                                      dgamma[c] = float(double(dgamma[c]) + sums[0]);
                                      dbeta[c] = float(double(dbeta[c]) + sums[1]);
                                    });
}

// body.operator()<V>() with the vectors of a lane.
template <class Body>
void for_vectors(int64_t columns, Body&& body) {
  const int64_t vectors = (columns + kVector * kWarp - 1) / (kVector * kWarp);
  if (vectors == 1) return body.template operator()<1>();
  if (vectors == 2) return body.template operator()<2>();
  if (vectors == 3) return body.template operator()<3>();
  return body.template operator()<kMostVectors>();
}

bool in_registers(int64_t columns, std::initializer_list<const void*> addresses) {
  return columns <= kWidest && columns % kVector == 0 && std::all_of(addresses.begin(), addresses.end(), aligned);
}

}  // namespace

void layer_norm_forward(Context& ctx, float eps, const Tensor& x, const Tensor& gamma, const Tensor& beta, Tensor& y,
                        Tensor& mean, Tensor& rstd) {
  if (x.numel() == 0) return;
  const int64_t rows = x.shape().rows(), columns = x.shape().back();
  const float *scale = gamma.data<float>(), *shift = beta.data<float>();
  float *center = mean.mutable_data<float>(), *factor = rstd.mutable_data<float>();
  dispatch("layer_norm_forward", x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    T* out = y.mutable_data<T>();
    if (!in_registers(columns, {in, out}))
      return launch(ctx, {"layer_norm_forward", unsigned(rows), kWideThreads}, wide_layer_norm_kernel<T>, in, columns,
                    eps, scale, shift, out, center, factor);
    for_vectors(columns, [&]<int V>() {
      launch(ctx, {"layer_norm_forward", blocks_for(rows, kNormWarps), kNormThreads}, layer_norm_kernel<T, V>, in, rows,
             int(columns), eps, weights_of(scale), weights_of(shift), out, center, factor);
    });
  });
}

void layer_norm_backward(Context& ctx, const Tensor& x, const Tensor& gamma, const Tensor& mean, const Tensor& rstd,
                         const Tensor& dy, Tensor& dx, Tensor& dgamma, Tensor& dbeta) {
  if (x.numel() == 0) return;
  const int64_t rows = x.shape().rows(), columns = x.shape().back();
  const float *scale = gamma.data<float>(), *center = mean.data<float>(), *factor = rstd.data<float>();
  float *gamma_sum = dgamma.mutable_data<float>(), *beta_sum = dbeta.mutable_data<float>();
  dispatch("layer_norm_backward", x.dtype(), [&]<class T>() {
    const T *in = x.data<T>(), *gradient = dy.data<T>();
    T* out = dx.mutable_data<T>();
    unsigned count = 0;
    float* partials = nullptr;
    auto take_partials = [&] {
      partials = static_cast<float*>(ctx.workspace(size_t(count) * 2 * size_t(columns) * sizeof(float)));
    };
    if (in_registers(columns, {in, gradient, out})) {
      count = unsigned(std::min<int64_t>(blocks_for(rows, kNormWarps), 4 * multiprocessors(ctx)));
      take_partials();
      for_vectors(columns, [&]<int V>() {
        launch(ctx, {"layer_norm_backward", count, kNormThreads}, layer_norm_backward_kernel<T, V>, in, rows,
               int(columns), weights_of(scale), center, factor, gradient, out, partials);
      });
    } else {
      const Tiles tiles = sum_tiles<1>(ctx, rows, columns, int64_t(2 * x.bytes()), 1);
      count = tiles.count;
      take_partials();
      launch(ctx, {"layer_norm_backward_sums", tiles.blocks(), kSumThreads}, wide_layer_norm_sums_kernel<T>, tiles, in,
             center, factor, gradient, partials);
      launch(ctx, {"layer_norm_backward", unsigned(rows), kWideThreads}, wide_layer_norm_backward_kernel<T>, in,
             columns, scale, center, factor, gradient, out);
    }
    launch(ctx, {"layer_norm_finish", blocks_for(columns, kFinishColumns), kFinishThreads}, layer_norm_finish_kernel,
           partials, int(count), columns, gamma_sum, beta_sum);
  });
}

}  // namespace coss::cuda
