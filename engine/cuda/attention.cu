// Attention in blocks: a block of threads has kTile queries (or keys) of one head and goes over the others tile by
// tile, so the matrix of probabilities is never in memory. The softmax runs along with the keys: each row keeps its
// greatest score so far, and the earlier sums are scaled when it grows. Backward computes the probabilities again from
// lse; one kernel sums over queries (dk, dv), one over keys (dq), so that no two blocks add to one element.
//
// These kernels serve f32, and shapes that the library does not take. Products are f32 on the ordinary cores: of a tile
// of 64 x 64 scores a thread has 8 x 4. Their operands come from shared memory, three loads for 16 products.
#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/cuda/attention.h"
#include "engine/cuda/device.h"
#include "engine/dispatch.h"
#include "engine/kernels.h"

namespace coss::cuda {
namespace {

constexpr int kTile = 64;               // queries and keys of a tile
constexpr int kAcross = 16;             // threads side by side
constexpr int kRows = 8, kColumns = 4;  // scores of a thread: neighboring rows, and columns kAcross apart
constexpr int kThreads = kTile / kRows * kAcross;
constexpr int kPitch = kTile + 4;  // row length of arrays stored by columns: a multiple of 16 bytes
constexpr float kLog2E = 1.44269504f, kLn2 = 0.693147181f;
constexpr float kLeastFinite = std::numeric_limits<float>::lowest();

// Arrays in shared memory; W >= channels, with zeros beyond. The block's own rows are stored by columns,
// [channel][row]. The other tiles are stored by rows, [row][channel], with an odd row length that spreads a column over
// the banks. Scores are stored by columns, [column][row].
template <int W>
constexpr int kOwnSize = W* kPitch;
template <int W>
constexpr int kOtherPitch = W + 1;
template <int W>
constexpr int kOtherSize = kTile* kOtherPitch<W>;
constexpr int kScoreSize = kTile * kPitch;

struct Shape4 {
  int tokens, queries, heads, channels;
  float scale;  // of the scores
};

// The head and tile of a block. Blocks of one head have neighboring numbers, so that they share its keys in the cache.
struct Task {
  int64_t image;
  int head, first;
};
__device__ inline Task own_task(const Shape4& s, int tiles) {
  const unsigned head = blockIdx.x / unsigned(tiles);
  return {int64_t(head / unsigned(s.heads)), int(head % unsigned(s.heads)), int(blockIdx.x % unsigned(tiles)) * kTile};
}

// Rows of one head in memory, `pitch` elements apart.
template <class T>
struct Matrix {
  T* first;
  int64_t pitch;
};
template <class T>
__device__ inline Matrix<T> part_of_qkv(T* qkv, const Shape4& s, const Task& task, int part) {
  const int64_t width = int64_t(s.heads) * s.channels;
  return {qkv + (task.image * s.tokens * 3 + part) * width + int64_t(task.head) * s.channels, 3 * width};
}
template <class T>
__device__ inline Matrix<T> part_of_y(T* y, const Shape4& s, const Task& task) {
  const int64_t width = int64_t(s.heads) * s.channels;
  return {y + task.image * s.queries * width + int64_t(task.head) * s.channels, width};
}

// --- a block's threads ---------------------------------------------------------------------------------------------

__device__ inline int across() { return int(threadIdx.x) % kAcross; }
__device__ inline int first_row() { return int(threadIdx.x) / kAcross * kRows; }

// Loads rows first .. first + kTile - 1 into shared memory, with zeros from row `end` on. N: elements of a load.
template <int W, int N, class T, class Array>
__device__ inline void fill_own(Array& shared, int at, const Matrix<const T>& from, int first, int end, int channels) {
  for (int item = int(threadIdx.x); item < kTile * (W / N); item += kThreads) {
    const int row = item % kTile, c = item / kTile * N;
    float value[N] = {};
    if (first + row < end && c < channels) load<N>(from.first + (first + row) * from.pitch + c, value);
    COSS_UNROLL
    for (int i = 0; i < N; ++i) shared[at + (c + i) * kPitch + row] = value[i];
  }
}
template <int W, int N, class T, class Array>
__device__ inline void fill_other(Array& shared, int at, const Matrix<const T>& from, int first, int end,
                                  int channels) {
  for (int item = int(threadIdx.x); item < kTile * (W / N); item += kThreads) {
    const int row = item / (W / N), c = item % (W / N) * N;
    float value[N] = {};
    if (first + row < end && c < channels) load<N>(from.first + (first + row) * from.pitch + c, value);
    COSS_UNROLL
    for (int i = 0; i < N; ++i) shared[at + row * kOtherPitch<W> + c + i] = value[i];
  }
}

// s = own * other^T: the thread's scores.
template <int W, class Array>
__device__ inline void multiply(Array& shared, int own, int other, float (&s)[kRows][kColumns]) {
  COSS_UNROLL
  for (int i = 0; i < kRows; ++i) {
    COSS_UNROLL
    for (int j = 0; j < kColumns; ++j) s[i][j] = 0;
  }
  const int row = own + first_row(), column = other + across() * kOtherPitch<W>;
  COSS_UNROLL_4
  for (int c = 0; c < W; ++c) {
    float a[kRows], b[kColumns];
    COSS_UNROLL
    for (int i = 0; i < kRows; ++i) a[i] = shared[row + c * kPitch + i];
    COSS_UNROLL
    for (int j = 0; j < kColumns; ++j) b[j] = shared[column + j * kAcross * kOtherPitch<W> + c];
    COSS_UNROLL
    for (int i = 0; i < kRows; ++i) {
      COSS_UNROLL
      for (int j = 0; j < kColumns; ++j) s[i][j] += a[i] * b[j];
    }
  }
}

// Writes the scores to shared memory, for the threads of the same rows, which belong to one warp.
template <class Array>
__device__ inline void put_scores(Array& shared, int at, const float (&s)[kRows][kColumns]) {
  __syncwarp();  // all have read the old scores
  COSS_UNROLL
  for (int j = 0; j < kColumns; ++j) {
    COSS_UNROLL
    for (int i = 0; i < kRows; ++i) shared[at + (across() + j * kAcross) * kPitch + first_row() + i] = s[i][j];
  }
  __syncwarp();
}

// sums += scores * other, over the first `count` columns of the scores.
template <int W, class Array>
__device__ inline void accumulate(Array& shared, int scores, int other, int count, float (&sums)[kRows][W / kAcross]) {
  const int row = scores + first_row(), column = other + across();
  COSS_UNROLL_4
  for (int k = 0; k < count; ++k) {
    float a[kRows], b[W / kAcross];
    COSS_UNROLL
    for (int i = 0; i < kRows; ++i) a[i] = shared[row + k * kPitch + i];
    COSS_UNROLL
    for (int j = 0; j < W / kAcross; ++j) b[j] = shared[column + k * kOtherPitch<W> + j * kAcross];
    COSS_UNROLL
    for (int i = 0; i < kRows; ++i) {
      COSS_UNROLL
      for (int j = 0; j < W / kAcross; ++j) sums[i][j] += a[i] * b[j];
    }
  }
}

// Stores the thread's rows below `end`, each times its factor.
template <int W, class T>
__device__ inline void write_rows(const Matrix<T>& to, int first, int end, int channels, const float (&factor)[kRows],
                                  const float (&sums)[kRows][W / kAcross]) {
  COSS_UNROLL
  for (int i = 0; i < kRows; ++i) {
    const int row = first + first_row() + i;
    if (row >= end) continue;
    COSS_UNROLL
    for (int j = 0; j < W / kAcross; ++j) {
      const int c = across() + j * kAcross;
      if (c < channels) to.first[row * to.pitch + c] = from_float<T>(sums[i][j] * factor[i]);
    }
  }
}

// The sum over the threads of one row.
__device__ inline float row_total(float value) {
  COSS_UNROLL
  for (int step = kAcross / 2; step > 0; step /= 2) value += __shfl_xor_sync(kAllLanes, value, step);
  return value;
}
__device__ inline float row_greatest(float value) {
  COSS_UNROLL
  for (int step = kAcross / 2; step > 0; step /= 2) value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, step));
  return value;
}

// --- forward -------------------------------------------------------------------------------------------------------

template <int W>
constexpr int kForwardShared = kOwnSize<W> + 2 * kOtherSize<W> + kScoreSize;

template <class T, int W, int N>
__global__ void __launch_bounds__(kThreads) attention_kernel(Shape4 s, int tiles, const T* qkv, T* y, float* lse) {
  COSS_DYNAMIC_SHARED(float, shared);
  constexpr int kKeys = kOwnSize<W>, kValues = kKeys + kOtherSize<W>;
  constexpr int kScores = kOwnSize<W> + 2 * kOtherSize<W>;
  const Task task = own_task(s, tiles);
  const float to_base2 = s.scale * kLog2E;
  fill_own<W, N>(shared, 0, part_of_qkv(qkv, s, task, 0), task.first, s.queries, s.channels);

  float sums[kRows][W / kAcross] = {}, total[kRows] = {}, greatest[kRows];
  COSS_UNROLL
  for (int i = 0; i < kRows; ++i) greatest[i] = kLeastFinite;
  for (int key = 0; key < s.tokens; key += kTile) {
    __syncthreads();  // all have used the last tile
    fill_other<W, N>(shared, kKeys, part_of_qkv(qkv, s, task, 1), key, s.tokens, s.channels);
    fill_other<W, N>(shared, kValues, part_of_qkv(qkv, s, task, 2), key, s.tokens, s.channels);
    __syncthreads();
    float score[kRows][kColumns];
    multiply<W>(shared, 0, kKeys, score);
    COSS_UNROLL
    for (int i = 0; i < kRows; ++i) {
      float top = greatest[i];
      COSS_UNROLL
      for (int j = 0; j < kColumns; ++j) {
        score[i][j] = key + across() + j * kAcross < s.tokens ? score[i][j] * to_base2 : kLeastFinite;
        top = fmaxf(top, score[i][j]);
      }
      top = row_greatest(top);
      float sum = 0;
      COSS_UNROLL
      for (int j = 0; j < kColumns; ++j) {
        score[i][j] = exp2f(score[i][j] - top);
        sum += score[i][j];
      }
      const float factor = exp2f(greatest[i] - top);
      greatest[i] = top;
      total[i] = total[i] * factor + sum;  // over this thread's columns
      COSS_UNROLL
      for (int j = 0; j < W / kAcross; ++j) sums[i][j] *= factor;
    }
    put_scores(shared, kScores, score);
    accumulate<W>(shared, kScores, kValues, min(kTile, s.tokens - key), sums);
  }
  float factor[kRows];
  COSS_UNROLL
  for (int i = 0; i < kRows; ++i) {
    total[i] = row_total(total[i]);
    factor[i] = 1.0f / total[i];
    const int row = task.first + first_row() + i;
    if (across() == 0 && row < s.queries)
      lse[(task.image * s.heads + task.head) * s.queries + row] = greatest[i] * kLn2 + logf(total[i]);
  }
  write_rows<W>(part_of_y(y, s, task), task.first, s.queries, s.channels, factor, sums);
}

// --- backward ------------------------------------------------------------------------------------------------------

// delta, with the layout of lse: the sum of dy * y of a query and head, by one warp each.
template <class T>
__global__ void __launch_bounds__(kThreads)
    attention_delta_kernel(Shape4 s, int64_t count, const T* y, const T* dy, float* delta) {
  const int64_t index = int64_t(blockIdx.x) * (kThreads / kWarp) + threadIdx.x / kWarp;
  if (index >= count) return;  // a whole warp
  const int64_t query = index % s.queries, image_head = index / s.queries;
  const int64_t image = image_head / s.heads, head = image_head % s.heads;
  const int64_t at = ((image * s.queries + query) * s.heads + head) * s.channels;
  float sum = 0;
  for (int c = int(threadIdx.x) % kWarp; c < s.channels; c += kWarp) sum += to_float(dy[at + c]) * to_float(y[at + c]);
  sum = warp_sum(sum);
  if (threadIdx.x % kWarp == 0) delta[index] = sum;
}

template <int W>
constexpr int kBackwardShared = 2 * kOwnSize<W> + 2 * kOtherSize<W> + kScoreSize + 2 * kTile;

// A block has kTile keys and their values, and goes over the queries.
template <class T, int W, int N>
__global__ void __launch_bounds__(kThreads) attention_keys_kernel(Shape4 s, int tiles, const T* qkv, const float* lse,
                                                                  const float* delta, const T* dy, T* dqkv) {
  COSS_DYNAMIC_SHARED(float, shared);
  constexpr int kValues = kOwnSize<W>, kQueries = 2 * kOwnSize<W>, kSlopes = kQueries + kOtherSize<W>;
  constexpr int kScores = kSlopes + kOtherSize<W>, kLse = kScores + kScoreSize, kDelta = kLse + kTile;
  const Task task = own_task(s, tiles);
  const float to_base2 = s.scale * kLog2E;
  const int64_t row_sums = (task.image * s.heads + task.head) * s.queries;
  fill_own<W, N>(shared, 0, part_of_qkv(qkv, s, task, 1), task.first, s.tokens, s.channels);
  fill_own<W, N>(shared, kValues, part_of_qkv(qkv, s, task, 2), task.first, s.tokens, s.channels);

  float key_sums[kRows][W / kAcross] = {}, value_sums[kRows][W / kAcross] = {};
  for (int query = 0; query < s.queries; query += kTile) {
    __syncthreads();
    fill_other<W, N>(shared, kQueries, part_of_qkv(qkv, s, task, 0), query, s.queries, s.channels);
    fill_other<W, N>(shared, kSlopes, part_of_y(dy, s, task), query, s.queries, s.channels);
    if (const int i = int(threadIdx.x); i < kTile) {
      const bool inside = query + i < s.queries;
      shared[kLse + i] = inside ? lse[row_sums + query + i] * kLog2E : 0.0f;
      shared[kDelta + i] = inside ? delta[row_sums + query + i] : 0.0f;
    }
    __syncthreads();
    const int count = min(kTile, s.queries - query);
    float score[kRows][kColumns], slope[kRows][kColumns];
    multiply<W>(shared, 0, kQueries, score);
    COSS_UNROLL
    for (int j = 0; j < kColumns; ++j) {
      const float log_sum = shared[kLse + across() + j * kAcross];
      COSS_UNROLL
      for (int i = 0; i < kRows; ++i) score[i][j] = exp2f(score[i][j] * to_base2 - log_sum);
    }
    put_scores(shared, kScores, score);
    accumulate<W>(shared, kScores, kSlopes, count, value_sums);
    multiply<W>(shared, kValues, kSlopes, slope);
    COSS_UNROLL
    for (int j = 0; j < kColumns; ++j) {
      const float mean = shared[kDelta + across() + j * kAcross];
      COSS_UNROLL
      for (int i = 0; i < kRows; ++i) slope[i][j] = score[i][j] * (slope[i][j] - mean);
    }
    put_scores(shared, kScores, slope);
    accumulate<W>(shared, kScores, kQueries, count, key_sums);
  }
  float factor[kRows], one[kRows];
  COSS_UNROLL
  for (int i = 0; i < kRows; ++i) {
    factor[i] = s.scale;
    one[i] = 1;
  }
  write_rows<W>(part_of_qkv(dqkv, s, task, 1), task.first, s.tokens, s.channels, factor, key_sums);
  write_rows<W>(part_of_qkv(dqkv, s, task, 2), task.first, s.tokens, s.channels, one, value_sums);
}

// A block has kTile tokens as queries and goes over the keys. Tokens that were no queries get zeros.
template <class T, int W, int N>
__global__ void __launch_bounds__(kThreads)
    attention_queries_kernel(Shape4 s, int tiles, const T* qkv, const float* lse, const float* delta, const T* dy,
                             T* dqkv) {
  COSS_DYNAMIC_SHARED(float, shared);
  constexpr int kSlopes = kOwnSize<W>, kKeys = 2 * kOwnSize<W>, kValues = kKeys + kOtherSize<W>;
  constexpr int kScores = kValues + kOtherSize<W>;
  const Task task = own_task(s, tiles);
  const float to_base2 = s.scale * kLog2E;
  float sums[kRows][W / kAcross] = {}, factor[kRows], log_sum[kRows], mean[kRows];
  COSS_UNROLL
  for (int i = 0; i < kRows; ++i) {
    const int row = task.first + first_row() + i;
    const int64_t at = (task.image * s.heads + task.head) * s.queries + row;
    factor[i] = s.scale;
    log_sum[i] = row < s.queries ? lse[at] * kLog2E : 0.0f;
    mean[i] = row < s.queries ? delta[at] : 0.0f;
  }
  if (task.first < s.queries) {
    fill_own<W, N>(shared, 0, part_of_qkv(qkv, s, task, 0), task.first, s.queries, s.channels);
    fill_own<W, N>(shared, kSlopes, part_of_y(dy, s, task), task.first, s.queries, s.channels);
    for (int key = 0; key < s.tokens; key += kTile) {
      __syncthreads();
      fill_other<W, N>(shared, kKeys, part_of_qkv(qkv, s, task, 1), key, s.tokens, s.channels);
      fill_other<W, N>(shared, kValues, part_of_qkv(qkv, s, task, 2), key, s.tokens, s.channels);
      __syncthreads();
      float score[kRows][kColumns], slope[kRows][kColumns];
      multiply<W>(shared, 0, kKeys, score);
      multiply<W>(shared, kSlopes, kValues, slope);
      COSS_UNROLL
      for (int i = 0; i < kRows; ++i) {
        COSS_UNROLL
        for (int j = 0; j < kColumns; ++j)
          score[i][j] = exp2f(score[i][j] * to_base2 - log_sum[i]) * (slope[i][j] - mean[i]);
      }
      put_scores(shared, kScores, score);
      accumulate<W>(shared, kScores, kKeys, min(kTile, s.tokens - key), sums);
    }
  }
  write_rows<W>(part_of_qkv(dqkv, s, task, 0), task.first, s.tokens, s.channels, factor, sums);
}

// --- host ----------------------------------------------------------------------------------------------------------

AttentionShape shape_of(const AttentionParams& p, const Tensor& qkv, const Tensor& y) {
  const Shape &in = qkv.shape(), &out = y.shape();
  return {in[0], in[1], out[1], p.heads, out[2] / p.heads, qkv.dtype()};
}

Shape4 numbers_of(const AttentionShape& shape) {
  COSS_CHECK(shape.channels <= 128, "[attention] a head of " + std::to_string(shape.channels) +
                                        " channels: at most 128 are supported on a GPU");
  constexpr int64_t kMost = std::numeric_limits<int>::max() - kTile;
  const int64_t blocks = shape.images * shape.heads * ((shape.tokens + kTile - 1) / kTile);
  COSS_CHECK(shape.tokens < kMost && blocks < kMost, "[attention] too many tokens, heads or images");
  return {int(shape.tokens), int(shape.queries), int(shape.heads), int(shape.channels),
          float(1 / std::sqrt(double(shape.channels)))};
}

// body.operator()<T, W, N>() for the dtype, the padded width of a head and the elements of a load.
template <class Body>
void for_shape(const char* name, const AttentionShape& shape, bool vectors, Body&& body) {
  dispatch(name, shape.dtype, [&]<class T>() {
    auto with_loads = [&]<int W>() {
      if (vectors && shape.channels % kVector == 0)
        body.template operator()<T, W, kVector>();
      else
        body.template operator()<T, W, 1>();
    };
    if (shape.channels <= 32)
      with_loads.template operator()<32>();
    else if (shape.channels <= 64)
      with_loads.template operator()<64>();
    else
      with_loads.template operator()<128>();
  });
}

unsigned tiles_of(int64_t tokens) { return blocks_for(tokens, kTile); }

}  // namespace

void attention_forward(Context& ctx, const AttentionParams& p, const Tensor& qkv, Tensor& y, Tensor& lse) {
  if (y.numel() == 0) return;
  const AttentionShape shape = shape_of(p, qkv, y);
  if (library_attention_forward(ctx, shape, qkv, y, lse)) return;
  const Shape4 s = numbers_of(shape);
  const unsigned tiles = tiles_of(shape.queries), blocks = unsigned(shape.images * shape.heads) * tiles;
  float* sums = lse.mutable_data<float>();
  for_shape("attention_forward", shape, aligned(qkv.raw()), [&]<class T, int W, int N>() {
    launch(ctx, {"attention_forward", blocks, kThreads, kForwardShared<W> * sizeof(float)}, attention_kernel<T, W, N>,
           s, int(tiles), qkv.data<T>(), y.mutable_data<T>(), sums);
  });
}

void attention_backward(Context& ctx, const AttentionParams& p, const Tensor& qkv, const Tensor& y, const Tensor& lse,
                        const Tensor& dy, Tensor& dqkv) {
  if (dqkv.numel() == 0) return;
  const AttentionShape shape = shape_of(p, qkv, y);
  if (library_attention_backward(ctx, shape, qkv, y, lse, dy, dqkv)) return;
  const Shape4 s = numbers_of(shape);
  const unsigned tiles = tiles_of(shape.tokens), blocks = unsigned(shape.images * shape.heads) * tiles;
  const int64_t count = shape.images * shape.heads * shape.queries;
  const float* sums = lse.data<float>();
  float* delta = static_cast<float*>(ctx.workspace(std::max<size_t>(1, size_t(count)) * sizeof(float)));
  for_shape("attention_backward", shape, aligned(qkv.raw()) && aligned(dy.raw()), [&]<class T, int W, int N>() {
    constexpr size_t kShared = kBackwardShared<W> * sizeof(float);
    const T *in = qkv.data<T>(), *slope = dy.data<T>();
    T* out = dqkv.mutable_data<T>();
    launch(ctx, {"attention_delta", blocks_for(count, kThreads / kWarp), kThreads}, attention_delta_kernel<T>, s, count,
           y.data<T>(), slope, delta);
    launch(ctx, {"attention_backward_keys", blocks, kThreads, kShared}, attention_keys_kernel<T, W, N>, s, int(tiles),
           in, sums, delta, slope, out);
    launch(ctx, {"attention_backward_queries", blocks, kThreads, kShared}, attention_queries_kernel<T, W, N>, s,
           int(tiles), in, sums, delta, slope, out);
  });
}

}  // namespace coss::cuda
