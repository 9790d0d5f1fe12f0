// Max pooling with one-byte indices, average pooling over windows and over whole images, and the option-A shortcut.
//
// Least bytes for a 16-bit type, per element of the larger tensor: max pooling 3 x 3 with stride 2 reads 2 and
// writes 3 / 4 (value and index), backward does the reverse; the averages read or write 2. A thread has 16 bytes of
// channels. Forward it goes down a column of outputs (walk.h). Backward it has a tile of stride x stride inputs, whose
// positions in the windows that cover them are known to the compiler, and collects their gradients: nothing is written
// twice, so there are no atomics and no zeroing pass.
#include "engine/cuda/walk.h"
#include "engine/dispatch.h"
#include "engine/kernels.h"

namespace coss::cuda {
namespace {

constexpr int kThreads = 256;  // of a block, at most

struct Pooling {
  int in_h = 0, in_w = 0, out_h = 0, out_w = 0, channels = 0;
  int window = 1, stride = 1, pad = 0;

  __device__ int64_t in_size() const { return int64_t(in_h) * in_w * channels; }
  __device__ int64_t out_size() const { return int64_t(out_h) * out_w * channels; }
};

Pooling pooling_of(const std::string& name, const PoolParams& p, int64_t widest, const Shape& x, const Shape& y) {
  COSS_CHECK(p.window >= 1 && p.window <= widest && p.stride >= 1 && p.pad >= 0 && 2 * p.pad <= p.window,
             "[" + name + "] a window of " + std::to_string(p.window) + " with padding " + std::to_string(p.pad) +
                 " and stride " + std::to_string(p.stride) + ": the window is 1 to " + std::to_string(widest) +
                 ", the padding at most half of it");
  COSS_ASSERT(x.rank == 4 && y.rank == 4 && x[0] == y[0] && x[3] == y[3]);
  COSS_ASSERT(y[1] == p.out_size(x[1]) && y[2] == p.out_size(x[2]));
  COSS_CHECK(x[1] * x[2] * x[3] < (int64_t(1) << 30),
             "[" + name + "] one image of " + x.str() + " has more than 2^30 values");
  return {int(x[1]), int(x[2]), int(y[1]), int(y[2]), int(x[3]), int(p.window), int(p.stride), int(p.pad)};
}

constexpr int64_t kWidestMax = 15;  // its index is one byte
constexpr int64_t kWidestMean = 1 << 14;

// 1 or kLanes channels, as the tensors allow.
template <class T, class Body>
void dispatch_lanes(bool vectors, Body&& body) {
  if (vectors)
    body.template operator()<kLanes<T>>();
  else
    body.template operator()<1>();
}

// --- max pooling ----------------------------------------------------------------------------------------------------

template <class T>
constexpr uint32_t kLowest = sizeof(T) == 4            ? 0xff800000u
                             : std::is_same_v<T, bf16> ? 0xff80ff80u
                                                       : 0xfc00fc00u;  // -inf

// NaN wins over everything before it, as in PyTorch; of equal values the first wins.
template <int N>
__device__ inline void take_larger(const float (&value)[N], int tap, float (&best)[N], int (&where)[N]) {
  COSS_UNROLL
  for (int i = 0; i < N; ++i) {
    const bool wins = value[i] > best[i] || value[i] != value[i];
    best[i] = wins ? value[i] : best[i];
    where[i] = wins ? tap : where[i];
  }
}

template <int N>
__device__ inline void put_indices(uint8_t* p, const int (&where)[N]) {
  if constexpr (N == 1) {
    *p = uint8_t(where[0]);
  } else {
    Raw<uint8_t, N> raw{};
    COSS_UNROLL
    for (int i = 0; i < N; ++i) raw.word[i / 4] |= uint32_t(where[i]) << (i % 4 * 8);
    put_raw(p, raw);
  }
}

// The first position in the window of output `out` that lies inside the image.
__device__ inline int first_inside(const Pooling& g, int out) { return max(0, g.pad - out * g.stride); }

// kWindow == 0: any window.
template <class T, int N, int kWindow>
__global__ void __launch_bounds__(kThreads)
    max_pool_forward_kernel(Pooling g, Walk walk, const T* __restrict__ x, T* y, uint8_t* index) {
  Spot spot;
  if (!take_spot(spot, walk)) return;
  const int window = kWindow > 0 ? kWindow : g.window;
  const int w0 = spot.column * g.stride - g.pad, first_s = first_inside(g, spot.column);
  const T* image = x + spot.image * g.in_size() + spot.vector * N;
  const int64_t out = spot.image * g.out_size() + spot.vector * N;
  for (int p = spot.begin; p < spot.end; ++p) {
    const int h0 = p * g.stride - g.pad, first_r = first_inside(g, p);
    float best[N];
    int where[N];
    COSS_UNROLL
    for (int i = 0; i < N; ++i) {
      best[i] = __uint_as_float(kLowest<float>);
      where[i] = first_r * window + first_s;
    }
    if constexpr (kWindow > 0) {
      Raw<T, N> raw[kWindow * kWindow];
      COSS_UNROLL
      for (int tap = 0; tap < kWindow * kWindow; ++tap) {
        const int h = h0 + tap / kWindow, w = w0 + tap % kWindow;
        const bool inside = h >= 0 && h < g.in_h && w >= 0 && w < g.in_w;
        raw[tap] = fetch_or<N>(kLowest<T>, image, (h * g.in_w + w) * g.channels, inside);
      }
      COSS_UNROLL
      for (int tap = 0; tap < kWindow * kWindow; ++tap) {
        float value[N];
        unpack(raw[tap], value);
        take_larger(value, tap, best, where);
      }
    } else {
      const int end_r = min(window, g.in_h - h0), end_s = min(window, g.in_w - w0);
      for (int r = first_r; r < end_r; ++r) {
        for (int s = first_s; s < end_s; ++s) {
          float value[N];
          unpack(fetch<N>(image, ((h0 + r) * g.in_w + w0 + s) * g.channels, true), value);
          take_larger(value, r * window + s, best, where);
        }
      }
    }
    const int64_t at = out + (p * g.out_w + spot.column) * g.channels;
    store<N>(y + at, best);
    put_indices(index + at, where);
  }
}

template <int N>
__device__ inline void unpack_indices(const Raw<uint8_t, N>& raw, int (&out)[N]) {
  if constexpr (N == 1) {
    out[0] = raw.item;
  } else {
    COSS_UNROLL
    for (int i = 0; i < N; ++i) out[i] = int(raw.word[i / 4] >> (i % 4 * 8) & 0xffu);
  }
}

template <int N>
__device__ inline void collect(const float (&dy)[N], const int (&index)[N], int tap, float (&sum)[N]) {
  COSS_UNROLL
  for (int i = 0; i < N; ++i) sum[i] += index[i] == tap ? dy[i] : 0.0f;
}

template <class T, int N, int kWindow, int kStride>
__global__ void __launch_bounds__(kThreads)
    max_pool_backward_kernel(Pooling g, Walk walk, const T* __restrict__ dy, const uint8_t* __restrict__ index, T* dx) {
  constexpr int kCover = (kWindow + kStride - 1) / kStride;  // most windows that cover an input, in one direction
  Spot spot;
  if (!take_spot(spot, walk)) return;
  // The tile begins where (position + pad) is a multiple of the stride: where window `last` begins.
  const int shift = g.pad % kStride, w0 = spot.column * kStride - shift, last_q = (w0 + g.pad) / kStride;
  const int64_t image = spot.image * g.out_size() + spot.vector * N;
  const int64_t out = spot.image * g.in_size() + spot.vector * N;
  for (int tile = spot.begin; tile < spot.end; ++tile) {
    const int h0 = tile * kStride - shift, last_p = (h0 + g.pad) / kStride;
    Raw<T, N> raw_dy[kCover][kCover];
    Raw<uint8_t, N> raw_index[kCover][kCover];
    COSS_UNROLL
    for (int a = 0; a < kCover; ++a) {
      COSS_UNROLL
      for (int b = 0; b < kCover; ++b) {
        const int p = last_p - a, q = last_q - b, at = (p * g.out_w + q) * g.channels;
        const bool inside = p >= 0 && p < g.out_h && q >= 0 && q < g.out_w;
        raw_dy[a][b] = fetch<N>(dy + image, at, inside);
        raw_index[a][b] = fetch_or<N>(~0u, index + image, at, inside);
      }
    }
    float sum[kStride][kStride][N] = {};
    COSS_UNROLL
    for (int a = 0; a < kCover; ++a) {
      COSS_UNROLL
      for (int b = 0; b < kCover; ++b) {
        float value[N];
        int where[N];
        unpack(raw_dy[a][b], value);
        unpack_indices(raw_index[a][b], where);
        COSS_UNROLL
        for (int i = 0; i < kStride; ++i) {
          COSS_UNROLL
          for (int j = 0; j < kStride; ++j) {
            const int r = a * kStride + i, s = b * kStride + j;
            if (r < kWindow && s < kWindow) collect(value, where, r * kWindow + s, sum[i][j]);
          }
        }
      }
    }
    COSS_UNROLL
    for (int i = 0; i < kStride; ++i) {
      const int h = h0 + i;
      if (h < 0 || h >= g.in_h) continue;
      COSS_UNROLL
      for (int j = 0; j < kStride; ++j)
        if (w0 + j >= 0 && w0 + j < g.in_w) store<N>(dx + out + (h * g.in_w + w0 + j) * g.channels, sum[i][j]);
    }
  }
}

template <class T, int N>
__global__ void __launch_bounds__(kThreads)
    max_pool_backward_any_kernel(Pooling g, Walk walk, const T* dy, const uint8_t* index, T* dx) {
  Spot spot;
  if (!take_spot(spot, walk)) return;
  const int64_t image = spot.image * g.out_size() + spot.vector * N;
  const int64_t out = spot.image * g.in_size() + spot.vector * N;
  const int right = spot.column + g.pad, last_q = min(right / g.stride, g.out_w - 1);
  for (int h = spot.begin; h < spot.end; ++h) {
    const int below = h + g.pad, last_p = min(below / g.stride, g.out_h - 1);
    float sum[N] = {};
    for (int p = last_p; p >= 0 && below - p * g.stride < g.window; --p) {
      for (int q = last_q; q >= 0 && right - q * g.stride < g.window; --q) {
        const int64_t at = image + (p * g.out_w + q) * g.channels;
        float value[N];
        int where[N];
        unpack(fetch<N>(dy, at, true), value);
        unpack_indices(fetch<N>(index, at, true), where);
        collect(value, where, (below - p * g.stride) * g.window + right - q * g.stride, sum);
      }
    }
    store<N>(dx + out + (h * g.in_w + spot.column) * g.channels, sum);
  }
}

// --- mean over windows ----------------------------------------------------------------------------------------------

template <class T, int N>
__global__ void __launch_bounds__(kThreads, 4)
    avg_pool_forward_kernel(Pooling g, Walk walk, const T* __restrict__ x, T* y) {
  Spot spot;
  if (!take_spot(spot, walk)) return;
  const T* image = x + spot.image * g.in_size() + spot.vector * N;
  const int64_t out = spot.image * g.out_size() + spot.vector * N;
  const int w0 = spot.column * g.stride - g.pad, first_s = first_inside(g, spot.column);
  const int end_s = min(g.window, g.in_w - w0);
  const float share = 1 / float(g.window * g.window);
  for (int p = spot.begin; p < spot.end; ++p) {
    const int h0 = p * g.stride - g.pad, end_r = min(g.window, g.in_h - h0);
    float sum[N] = {};
    for (int r = first_inside(g, p); r < end_r; ++r) {
      for (int s = first_s; s < end_s; ++s) {
        float value[N];
        unpack(fetch<N>(image, ((h0 + r) * g.in_w + w0 + s) * g.channels, true), value);
        COSS_UNROLL
        for (int i = 0; i < N; ++i) sum[i] += value[i];
      }
    }
    COSS_UNROLL
    for (int i = 0; i < N; ++i) sum[i] *= share;
    store<N>(y + out + (p * g.out_w + spot.column) * g.channels, sum);
  }
}

template <class T, int N>
__global__ void __launch_bounds__(kThreads, 4)
    avg_pool_backward_kernel(Pooling g, Walk walk, const T* __restrict__ dy, T* dx) {
  Spot spot;
  if (!take_spot(spot, walk)) return;
  const T* image = dy + spot.image * g.out_size() + spot.vector * N;
  const int64_t out = spot.image * g.in_size() + spot.vector * N;
  const int right = spot.column + g.pad, last_q = min(right / g.stride, g.out_w - 1);
  const float share = 1 / float(g.window * g.window);
  for (int h = spot.begin; h < spot.end; ++h) {
    const int below = h + g.pad, last_p = min(below / g.stride, g.out_h - 1);
    float sum[N] = {};
    for (int p = last_p; p >= 0 && below - p * g.stride < g.window; --p) {
      for (int q = last_q; q >= 0 && right - q * g.stride < g.window; --q) {
        float value[N];
        unpack(fetch<N>(image, (p * g.out_w + q) * g.channels, true), value);
        COSS_UNROLL
        for (int i = 0; i < N; ++i) sum[i] += value[i];
      }
    }
    COSS_UNROLL
    for (int i = 0; i < N; ++i) sum[i] *= share;
    store<N>(dx + out + (h * g.in_w + spot.column) * g.channels, sum);
  }
}

// --- mean over positions --------------------------------------------------------------------------------------------

// One block per image and tile of channels: threadIdx.y shares the positions. Tensors are (images, positions,
// channels).
struct Mean {
  int64_t positions = 0, channels = 0;
  int vectors = 0, tile = 0, tiles = 0;
};

Mean mean_of(const Shape& image, int lanes) {
  Mean mean{image[1] * image[2], image[3], int(image[3] / lanes), 0, 0};
  mean.tile = tile_of(mean.vectors);
  mean.tiles = (mean.vectors + mean.tile - 1) / mean.tile;
  return mean;
}
Grid mean_grid(const char* name, const Mean& mean, int64_t images) {
  COSS_CHECK(images * mean.tiles < (int64_t(1) << 31), "[mean_hw] too many images");
  const int64_t rows = std::min<int64_t>(kThreads / mean.tile, mean.positions);
  return {name, dim3(unsigned(images * mean.tiles)), dim3(unsigned(mean.tile), unsigned(rows))};
}

template <class T, int N>
__global__ void __launch_bounds__(kThreads) mean_hw_forward_kernel(Mean mean, const T* __restrict__ x, T* y) {
  constexpr int kBatch = 4;  // vectors that a thread loads at a time
  COSS_SHARED(float, shared, (kSharedForItems<N, kThreads>));
  const int64_t image = blockIdx.x / unsigned(mean.tiles);
  const int first = int(blockIdx.x % unsigned(mean.tiles)) * mean.tile, vector = first + int(threadIdx.x);
  float sum[N] = {};
  if (vector < mean.vectors) {
    const T* from = x + image * mean.positions * mean.channels + int64_t(vector) * N;
    for (int64_t i = threadIdx.y; i < mean.positions; i += kBatch * blockDim.y) {
      Raw<T, N> raw[kBatch];
      COSS_UNROLL
      for (int k = 0; k < kBatch; ++k) {
        const int64_t at = i + k * int(blockDim.y);
        raw[k] = fetch<N>(from, at * mean.channels, at < mean.positions);
      }
      COSS_UNROLL
      for (int k = 0; k < kBatch; ++k) {
        float value[N];
        unpack(raw[k], value);
        COSS_UNROLL
        for (int j = 0; j < N; ++j) sum[j] += value[j];
      }
    }
  }
  const float positions = float(mean.positions);
  sum_of_items<kThreads>(shared, sum, [&](int v, int i, float total) {
    if (first + v < mean.vectors)
      y[image * mean.channels + int64_t(first + v) * N + i] = from_float<T>(total / positions);
  });
}

template <class T, int N>
__global__ void __launch_bounds__(kThreads) mean_hw_backward_kernel(Mean mean, const T* dy, T* dx) {
  const int64_t image = blockIdx.x / unsigned(mean.tiles);
  const int vector = int(blockIdx.x % unsigned(mean.tiles)) * mean.tile + int(threadIdx.x);
  if (vector >= mean.vectors) return;
  float value[N];
  unpack(fetch<N>(dy, image * mean.channels + int64_t(vector) * N, true), value);
  COSS_UNROLL
  for (float& item : value) item /= float(mean.positions);
  T* to = dx + image * mean.positions * mean.channels + int64_t(vector) * N;
  for (int64_t i = threadIdx.y; i < mean.positions; i += blockDim.y) store<N>(to + i * mean.channels, value);
}

// --- option-A shortcut ----------------------------------------------------------------------------------------------

// `narrow` is the input, with all rows and columns and fewer channels; `wide` is the output.
struct Shortcut {
  int narrow_h = 0, narrow_w = 0, narrow = 0, wide_h = 0, wide_w = 0, wide = 0;
  int stride = 1, before = 0;
};

Shortcut shortcut_of(int64_t stride, int64_t before, const Shape& x, const Shape& y) {
  COSS_ASSERT(x.rank == 4 && y.rank == 4 && x[0] == y[0] && before >= 0 && before + x[3] <= y[3]);
  COSS_ASSERT(y[1] == (x[1] + stride - 1) / stride && y[2] == (x[2] + stride - 1) / stride);
  return {int(x[1]), int(x[2]), int(x[3]), int(y[1]), int(y[2]), int(y[3]), int(stride), int(before)};
}

template <class T>
bool shortcut_in_vectors(const Shortcut& g, const T* a, const T* b) {
  return in_vectors<T>(g.narrow, {a, b}) && g.wide % kLanes<T> == 0 && g.before % kLanes<T> == 0;
}

template <class T, int N>
__global__ void __launch_bounds__(kThreads) shortcut_a_forward_kernel(Shortcut g, Walk walk, const T* x, T* y) {
  Spot spot;
  if (!take_spot(spot, walk)) return;
  const int channel = spot.vector * N - g.before;
  const bool inside = channel >= 0 && channel < g.narrow;
  for (int p = spot.begin; p < spot.end; ++p) {
    const int64_t from = (spot.image * g.narrow_h + p * g.stride) * g.narrow_w + spot.column * g.stride;
    const int64_t to = (spot.image * g.wide_h + p) * g.wide_w + spot.column;
    put_raw(y + to * g.wide + spot.vector * N, fetch<N>(x, from * g.narrow + channel, inside));
  }
}

template <class T, int N>
__global__ void __launch_bounds__(kThreads) shortcut_a_backward_kernel(Shortcut g, Walk walk, const T* dy, T* dx) {
  Spot spot;
  if (!take_spot(spot, walk)) return;
  const bool column_used = spot.column % g.stride == 0;
  for (int h = spot.begin; h < spot.end; ++h) {
    const int64_t from = (spot.image * g.wide_h + h / g.stride) * g.wide_w + spot.column / g.stride;
    const int64_t to = (spot.image * g.narrow_h + h) * g.narrow_w + spot.column;
    put_raw(dx + to * g.narrow + spot.vector * N,
            fetch<N>(dy, from * g.wide + g.before + spot.vector * N, column_used && h % g.stride == 0));
  }
}

}  // namespace

void max_pool_forward(Context& ctx, const PoolParams& p, const Tensor& x, Tensor& y, Tensor& index) {
  const Pooling g = pooling_of("max_pool", p, kWidestMax, x.shape(), y.shape());
  COSS_ASSERT(index.shape() == y.shape());
  if (y.numel() == 0) return;
  const int64_t images = x.shape()[0];
  dispatch("max_pool", x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    T* out = y.mutable_data<T>();
    uint8_t* where = index.mutable_data<uint8_t>();
    dispatch_lanes<T>(in_vectors<T>(g.channels, {in, out, where}), [&]<int N>() {
      const Walk walk = walk_over(ctx, images, g.out_h, g.out_w, g.channels / N);
      const Grid grid{"max_pool_forward", walk.blocks(kThreads), walk.threads(kThreads)};
      if constexpr (N > 1) {
        if (g.window == 3) return launch(ctx, grid, max_pool_forward_kernel<T, N, 3>, g, walk, in, out, where);
      }
      launch(ctx, grid, max_pool_forward_kernel<T, N, 0>, g, walk, in, out, where);
    });
  });
}

void max_pool_backward(Context& ctx, const PoolParams& p, const Tensor& dy, const Tensor& index, Tensor& dx) {
  const Pooling g = pooling_of("max_pool", p, kWidestMax, dx.shape(), dy.shape());
  COSS_ASSERT(index.shape() == dy.shape());
  if (dx.numel() == 0) return;
  const int64_t images = dx.shape()[0];
  dispatch("max_pool", dy.dtype(), [&]<class T>() {
    const T* in = dy.data<T>();
    const uint8_t* where = index.data<uint8_t>();
    T* out = dx.mutable_data<T>();
    dispatch_lanes<T>(in_vectors<T>(g.channels, {in, out, where}), [&]<int N>() {
      if constexpr (N > 1) {
        if (g.window == 3 && g.stride == 2) {
          const int shift = g.pad % 2;
          const Walk walk = walk_over(ctx, images, (g.in_h + shift + 1) / 2, (g.in_w + shift + 1) / 2, g.channels / N);
          return launch(ctx, {"max_pool_backward", walk.blocks(kThreads), walk.threads(kThreads)},
                        max_pool_backward_kernel<T, N, 3, 2>, g, walk, in, where, out);
        }
      }
      const Walk walk = walk_over(ctx, images, g.in_h, g.in_w, g.channels / N);
      launch(ctx, {"max_pool_backward_any", walk.blocks(kThreads), walk.threads(kThreads)},
             max_pool_backward_any_kernel<T, N>, g, walk, in, where, out);
    });
  });
}

void avg_pool_forward(Context& ctx, const PoolParams& p, const Tensor& x, Tensor& y) {
  const Pooling g = pooling_of("avg_pool", p, kWidestMean, x.shape(), y.shape());
  if (y.numel() == 0) return;
  dispatch("avg_pool", x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    T* out = y.mutable_data<T>();
    dispatch_lanes<T>(in_vectors<T>(g.channels, {in, out}), [&]<int N>() {
      const Walk walk = walk_over(ctx, x.shape()[0], g.out_h, g.out_w, g.channels / N);
      launch(ctx, {"avg_pool_forward", walk.blocks(kThreads), walk.threads(kThreads)}, avg_pool_forward_kernel<T, N>, g,
             walk, in, out);
    });
  });
}

void avg_pool_backward(Context& ctx, const PoolParams& p, const Tensor& dy, Tensor& dx) {
  const Pooling g = pooling_of("avg_pool", p, kWidestMean, dx.shape(), dy.shape());
  if (dx.numel() == 0) return;
  dispatch("avg_pool", dy.dtype(), [&]<class T>() {
    const T* in = dy.data<T>();
    T* out = dx.mutable_data<T>();
    dispatch_lanes<T>(in_vectors<T>(g.channels, {in, out}), [&]<int N>() {
      const Walk walk = walk_over(ctx, dx.shape()[0], g.in_h, g.in_w, g.channels / N);
      launch(ctx, {"avg_pool_backward", walk.blocks(kThreads), walk.threads(kThreads)}, avg_pool_backward_kernel<T, N>,
             g, walk, in, out);
    });
  });
}

void mean_hw_forward(Context& ctx, const Tensor& x, Tensor& y) {
  if (x.numel() == 0) return;
  dispatch("mean_hw", x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    T* out = y.mutable_data<T>();
    dispatch_lanes<T>(in_vectors<T>(x.shape()[3], {in}), [&]<int N>() {
      const Mean mean = mean_of(x.shape(), N);
      launch(ctx, mean_grid("mean_hw_forward", mean, x.shape()[0]), mean_hw_forward_kernel<T, N>, mean, in, out);
    });
  });
}

void mean_hw_backward(Context& ctx, const Tensor& dy, Tensor& dx) {
  if (dx.numel() == 0) return;
  dispatch("mean_hw", dy.dtype(), [&]<class T>() {
    const T* in = dy.data<T>();
    T* out = dx.mutable_data<T>();
    dispatch_lanes<T>(in_vectors<T>(dx.shape()[3], {in, out}), [&]<int N>() {
      const Mean mean = mean_of(dx.shape(), N);
      launch(ctx, mean_grid("mean_hw_backward", mean, dx.shape()[0]), mean_hw_backward_kernel<T, N>, mean, in, out);
    });
  });
}

void shortcut_a_forward(Context& ctx, int64_t stride, int64_t before, const Tensor& x, Tensor& y) {
  const Shortcut g = shortcut_of(stride, before, x.shape(), y.shape());
  if (y.numel() == 0) return;
  dispatch("shortcut_a", x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    T* out = y.mutable_data<T>();
    dispatch_lanes<T>(shortcut_in_vectors(g, in, out), [&]<int N>() {
      const Walk walk = walk_over(ctx, y.shape()[0], g.wide_h, g.wide_w, g.wide / N);
      launch(ctx, {"shortcut_a_forward", walk.blocks(kThreads), walk.threads(kThreads)},
             shortcut_a_forward_kernel<T, N>, g, walk, in, out);
    });
  });
}

void shortcut_a_backward(Context& ctx, int64_t stride, int64_t before, const Tensor& dy, Tensor& dx) {
  const Shortcut g = shortcut_of(stride, before, dx.shape(), dy.shape());
  if (dx.numel() == 0) return;
  dispatch("shortcut_a", dy.dtype(), [&]<class T>() {
    const T* in = dy.data<T>();
    T* out = dx.mutable_data<T>();
    dispatch_lanes<T>(shortcut_in_vectors(g, in, out), [&]<int N>() {
      const Walk walk = walk_over(ctx, dx.shape()[0], g.narrow_h, g.narrow_w, g.narrow / N);
      launch(ctx, {"shortcut_a_backward", walk.blocks(kThreads), walk.threads(kThreads)},
             shortcut_a_backward_kernel<T, N>, g, walk, in, out);
    });
  });
}

}  // namespace coss::cuda
