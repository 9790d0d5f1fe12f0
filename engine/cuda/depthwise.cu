// Depthwise convolution: y[n,p,q,c] = sum over r, s of w[r,s,c] * x[n, p*stride + r*dilation - pad, q*stride + …, c],
// and its gradients.
//
// Floors: forward and input gradient read one tensor and write another once, the weight gradient reads two. For bf16
// these are 4 bytes per 9 multiply-adds (3 x 3), so all other work per element matters. A thread has 8 or 16 bytes of
// channels and a strip of 4 pixels. It loads and converts each column of a row once for all windows of the strip, and
// keeps its 3 x 3 weights (or their gradient) in registers while it goes down the image row by row (walk.h). Windows of
// 3 and 5 with strides 1 and 2 are compiled in; plain kernels serve other windows, and tensors that cannot be read in
// vectors.
#include "engine/cuda/columns.h"
#include "engine/cuda/depthwise.h"
#include "engine/cuda/walk.h"
#include "engine/dispatch.h"

namespace coss::cuda {
namespace {

constexpr int kThreads = 128;  // threads of a block, at most
constexpr int kBlocks = 3;     // resident blocks of a multiprocessor: 168 registers per thread
constexpr int kStrip = 4;      // neighboring pixels of a thread
constexpr int kRowLanes = 4;   // channels of a thread in depthwise_rows_kernel

// How `out` is computed from `in`.
struct Window {
  int in_h = 0, in_w = 0, out_h = 0, out_w = 0, channels = 0;
  int height = 0, width = 0;                           // size of the window
  int stride = 1, pad_h = 0, pad_w = 0, dilation = 1;  // padding above and on the left; the rest follows from the sizes

  __device__ int64_t in_size() const { return int64_t(in_h) * in_w * channels; }
  __device__ int64_t out_size() const { return int64_t(out_h) * out_w * channels; }
};

Window window_of(const ConvParams& p, const Shape& x, const Shape& w, const Shape& y) {
  COSS_ASSERT(x.rank == 4 && y.rank == 4 && w.rank == 3 && x[0] == y[0] && x[3] == y[3] && w[2] == x[3]);
  COSS_ASSERT(y[1] == p.out_size(x[1], w[0]) && y[2] == p.out_size(x[2], w[1]));
  // Positions within one image, or a window outside of it, must fit 32-bit numbers.
  COSS_CHECK(x[1] * x[2] * x[3] < (int64_t(1) << 30) && y[1] * y[2] * y[3] < (int64_t(1) << 30),
             "[conv2d] one image of " + x.str() + " has more than 2^30 values");
  const int64_t above = p.pad_before(x[1], w[0]), left = p.pad_before(x[2], w[1]);
  return {int(x[1]), int(x[2]),     int(y[1]),  int(y[2]), int(x[3]),      int(w[0]),
          int(w[1]), int(p.stride), int(above), int(left), int(p.dilation)};
}

// Calls body.operator()<kWindow, kStride>() where there are kernels for this window; returns false where there are
// none.
template <class Body>
bool dispatch_window(const Window& g, Body&& body) {
  if (g.dilation != 1 || g.height != g.width) return false;
  if (g.height == 3 && g.stride == 1) return body.template operator()<3, 1>(), true;
  if (g.height == 3 && g.stride == 2) return body.template operator()<3, 2>(), true;
  if (g.height == 5 && g.stride == 1) return body.template operator()<5, 1>(), true;
  if (g.height == 5 && g.stride == 2) return body.template operator()<5, 2>(), true;
  return false;
}

// 1 or kLanes channels, as the tensors allow.
template <class T, class Body>
void dispatch_lanes(bool vectors, Body&& body) {
  if (vectors)
    body.template operator()<kLanes<T>>();
  else
    body.template operator()<1>();
}

int64_t strips_of(int64_t width) { return (width + kStrip - 1) / kStrip; }

// Whether the weights of all rows of a window are kept: where registers suffice.
template <int kWindow>
constexpr bool kKeepsWeights = kWindow <= 3;

// Loads the weights of row r. Where the filter is reversed, `last` is the index of the last weight, else -1.
template <int kWindow, int N, class T>
__device__ inline void load_weights(const T* w, int channels, int last, int r, float (&out)[kWindow][N]) {
  COSS_UNROLL
  for (int s = 0; s < kWindow; ++s) {
    const int tap = last < 0 ? r * kWindow + s : last - r * kWindow - s;
    load<N>(w + int64_t(tap) * channels, out[s]);
  }
}

// --- forward, and input gradient with stride 1 ----------------------------------------------------------------------

// y = act(sum + bias + residual). The activation is known at run time only: a branch that all threads take costs less
// than many more kernels.
template <class T>
struct Epilogue {
  const float* bias = nullptr;
  const T* residual = nullptr;
  Activation activation = Activation::none;
};
template <Activation kAct, int N>
__device__ inline void activate(float (&value)[N]) {
  COSS_UNROLL
  for (float& item : value) item = activated<kAct>(item);
}

// y = sum, the case of a training step: no registers for anything else.
struct Plain {};
template <int N, class T>
__device__ inline void finish(const Plain&, int, int64_t at, const float (&sum)[N], T* y) {
  store<N>(y + at, sum);
}
template <int N, class T>
__device__ inline void finish(const Epilogue<T>& epilogue, int channel, int64_t at, float (&sum)[N], T* y) {
  if (epilogue.bias) {
    COSS_UNROLL
    for (int i = 0; i < N; ++i) sum[i] += epilogue.bias[channel + i];
  }
  if (epilogue.residual) {
    float residual[N];
    load<N>(epilogue.residual + at, residual);
    COSS_UNROLL
    for (int i = 0; i < N; ++i) sum[i] += residual[i];
  }
  if (epilogue.activation == Activation::relu) activate<Activation::relu>(sum);
  if (epilogue.activation == Activation::relu6) activate<Activation::relu6>(sum);
  if (epilogue.activation == Activation::silu) activate<Activation::silu>(sum);
  if (epilogue.activation == Activation::hardswish) activate<Activation::hardswish>(sum);
  store<N>(y + at, sum);
}

// 3 x 3 with stride 1, the most frequent case in every network. Each row of x is loaded and converted once, for the
// three rows of outputs that use it. Their sums rotate through three slots, so the loop over rows is unrolled three
// times; meanwhile the next row is being loaded. Weights and three rows of sums leave registers for 4 channels only.
template <class T, class E>
__global__ void __launch_bounds__(kThreads, kBlocks)
    depthwise_rows_kernel(Window g, Walk walk, bool turned, E epilogue, const T* __restrict__ x,
                          const T* __restrict__ w, T* y) {
  constexpr int N = kRowLanes, kWindow = 3, kColumns = kStrip + kWindow - 1;
  Spot spot;
  if (!take_spot(spot, walk)) return;
  const int channel = spot.vector * N;
  float weight[kWindow][kWindow][N];
  COSS_UNROLL
  for (int r = 0; r < kWindow; ++r)
    load_weights(w + channel, g.channels, turned ? kWindow * kWindow - 1 : -1, r, weight[r]);

  const int q0 = spot.column * kStrip, w0 = q0 - g.pad_w;
  const int begin = spot.begin - g.pad_h, end = spot.end - g.pad_h + kWindow - 1;  // rows of x that the outputs use
  const T* image = x + spot.image * g.in_size() + channel;
  int from = (begin * g.in_w + w0) * g.channels;  // the position in the image of what `next` holds
  int64_t to = spot.image * g.out_size() + (spot.begin * g.out_w + q0) * g.channels + channel;
  const int pixels = g.out_w - q0;
  Raw<T, N> next[kColumns];
  auto load_column = [&](int h, int c) {
    const bool inside = h >= 0 && h < min(end, g.in_h) && w0 + c >= 0 && w0 + c < g.in_w;
    next[c] = fetch<N>(image, from + c * g.channels, inside);
  };
  COSS_UNROLL
  for (int c = 0; c < kColumns; ++c) load_column(begin, c);
  float sum[kWindow][kStrip][N] = {};
  for (int h = begin; h < end;) {
    COSS_UNROLL
    for (int phase = 0; phase < kWindow; ++phase) {
      if (h >= end) break;
      ++h;
      from += g.in_w * g.channels;
      COSS_UNROLL
      for (int c = 0; c < kColumns; ++c) {
        float column[N];
        unpack(next[c], column);
        load_column(h, c);
        COSS_UNROLL
        for (int r = 0; r < kWindow; ++r) {
          float(&target)[kStrip][N] = sum[(phase + kWindow - r) % kWindow];
          COSS_UNROLL
          for (int s = 0; s < kWindow; ++s) {
            const int k = c - s;
            if (k < 0 || k >= kStrip) continue;
            COSS_UNROLL
            for (int i = 0; i < N; ++i)
              target[k][i] = (r == 0 && s == 0 ? 0.0f : target[k][i]) + column[i] * weight[r][s][i];
          }
        }
      }
      if (h < begin + kWindow) continue;  // no row of outputs is complete yet
      COSS_UNROLL
      for (int k = 0; k < kStrip; ++k)
        if (k < pixels) finish(epilogue, channel, to + k * g.channels, sum[(phase + 1) % kWindow][k], y);
      to += g.out_w * g.channels;
    }
  }
}

template <class T, int kWindow, int kStride>
__global__ void __launch_bounds__(kThreads, kBlocks)
    depthwise_forward_kernel(Window g, Walk walk, bool turned, Epilogue<T> epilogue, const T* __restrict__ x,
                             const T* __restrict__ w, T* y) {
  constexpr int N = kLanes<T>, kColumns = (kStrip - 1) * kStride + kWindow;
  constexpr bool kKeep = kKeepsWeights<kWindow>;
  Spot spot;
  if (!take_spot(spot, walk)) return;
  const int channel = spot.vector * N, last = turned ? kWindow * kWindow - 1 : -1;
  w += channel;
  float weight[kKeep ? kWindow : 1][kWindow][N];
  if constexpr (kKeep) {
    COSS_UNROLL
    for (int r = 0; r < kWindow; ++r) load_weights(w, g.channels, last, r, weight[r]);
  }

  const int q0 = spot.column * kStrip, w0 = q0 * kStride - g.pad_w;
  const T* image = x + spot.image * g.in_size() + channel;
  const int64_t out = spot.image * g.out_size() + channel;
  for (int p = spot.begin; p < spot.end; ++p) {
    float sum[kStrip][N] = {};
    COSS_UNROLL
    for (int r = 0; r < kWindow; ++r) {
      const int h = p * kStride - g.pad_h + r;
      if (h < 0 || h >= g.in_h) continue;
      const int row = (h * g.in_w + w0) * g.channels;
      Raw<T, N> raw[kColumns];
      COSS_UNROLL
      for (int c = 0; c < kColumns; ++c) raw[c] = fetch<N>(image, row + c * g.channels, w0 + c >= 0 && w0 + c < g.in_w);
      if constexpr (!kKeep) load_weights(w, g.channels, last, r, weight[0]);
      COSS_UNROLL
      for (int c = 0; c < kColumns; ++c) {
        float column[N];
        unpack(raw[c], column);
        COSS_UNROLL
        for (int s = 0; s < kWindow; ++s) {
          // Weight s of window k uses column c.
          const int k = (c - s) / kStride;
          if (c < s || (c - s) % kStride != 0 || k >= kStrip) continue;
          COSS_UNROLL
          for (int i = 0; i < N; ++i) sum[k][i] += column[i] * weight[kKeep ? r : 0][s][i];
        }
      }
    }
    COSS_UNROLL
    for (int k = 0; k < kStrip; ++k)
      if (q0 + k < g.out_w) finish(epilogue, channel, out + (p * g.out_w + q0 + k) * g.channels, sum[k], y);
  }
}

template <class T, int N>
__global__ void __launch_bounds__(kThreads)
    depthwise_forward_any_kernel(Window g, Walk walk, Epilogue<T> epilogue, const T* x, const T* w, T* y) {
  Spot spot;
  if (!take_spot(spot, walk)) return;
  const int channel = spot.vector * N;
  const T* image = x + spot.image * g.in_size() + channel;
  const int64_t out = spot.image * g.out_size() + channel;
  for (int p = spot.begin; p < spot.end; ++p) {
    float sum[N] = {};
    for (int r = 0; r < g.height; ++r) {
      const int h = p * g.stride - g.pad_h + r * g.dilation;
      if (h < 0 || h >= g.in_h) continue;
      for (int s = 0; s < g.width; ++s) {
        const int column = spot.column * g.stride - g.pad_w + s * g.dilation;
        if (column < 0 || column >= g.in_w) continue;
        float in[N], weight[N];
        load<N>(image + (h * g.in_w + column) * g.channels, in);
        load<N>(w + int64_t(r * g.width + s) * g.channels + channel, weight);
        COSS_UNROLL
        for (int i = 0; i < N; ++i) sum[i] += in[i] * weight[i];
      }
    }
    finish(epilogue, channel, out + (p * g.out_w + spot.column) * g.channels, sum, y);
  }
}

template <class T, int kWindow, int kStride>
void launch_forward(Context& ctx, const Window& g, int64_t images, bool turned, const Epilogue<T>& epilogue, const T* x,
                    const T* w, T* y) {
  if constexpr (kWindow == 3 && kStride == 1) {
    // Each item loads two rows beyond its own, so items are as high as possible with two waves of blocks.
    const Walk walk =
        walk_over(ctx, images, g.out_h, strips_of(g.out_w), g.channels / kRowLanes, 2 * kBlocks * kThreads, 32);
    const Grid grid{turned ? "depthwise_dgrad" : "depthwise_forward", walk.blocks(kThreads), walk.threads(kThreads)};
    if (epilogue.bias || epilogue.residual || epilogue.activation != Activation::none)
      launch(ctx, grid, depthwise_rows_kernel<T, Epilogue<T>>, g, walk, turned, epilogue, x, w, y);
    else
      launch(ctx, grid, depthwise_rows_kernel<T, Plain>, g, walk, turned, Plain(), x, w, y);
  } else {
    const Walk walk = walk_over(ctx, images, g.out_h, strips_of(g.out_w), g.channels / kLanes<T>);
    launch(ctx, {turned ? "depthwise_dgrad" : "depthwise_forward", walk.blocks(kThreads), walk.threads(kThreads)},
           depthwise_forward_kernel<T, kWindow, kStride>, g, walk, turned, epilogue, x, w, y);
  }
}

// --- input gradient with stride 2 -----------------------------------------------------------------------------------

// A thread has 2 rows and kStrip columns of dx that begin where (position + pad) is even. So the compiler knows which
// weights belong to which rows and columns of dy: an even row uses the even weight rows, an odd row the odd ones.
template <class T, int kWindow>
__global__ void __launch_bounds__(kThreads, kBlocks)
    depthwise_dgrad2_kernel(Window g, Walk walk, const T* __restrict__ dy, const T* __restrict__ w, T* dx) {
  constexpr int N = kLanes<T>, kBefore = (kWindow - 1) / 2, kColumns = kBefore + kStrip / 2;
  constexpr bool kKeep = kKeepsWeights<kWindow>;
  Spot spot;
  if (!take_spot(spot, walk)) return;
  const int channel = spot.vector * N;
  w += channel;
  float weight[kKeep ? kWindow : 1][kWindow][N];
  if constexpr (kKeep) {
    COSS_UNROLL
    for (int r = 0; r < kWindow; ++r) load_weights(w, g.channels, -1, r, weight[r]);
  }

  const int w0 = spot.column * kStrip - g.pad_w % 2, q0 = (w0 + g.pad_w) / 2 - kBefore;
  const T* image = dy + spot.image * g.out_size() + channel;
  const int64_t out = spot.image * g.in_size() + channel;
  for (int pair = spot.begin; pair < spot.end; ++pair) {
    const int h0 = pair * 2 - g.pad_h % 2, p0 = (h0 + g.pad_h) / 2;
    COSS_UNROLL
    for (int i = 0; i < 2; ++i) {
      float sum[kStrip][N] = {};
      COSS_UNROLL
      for (int r = i; r < kWindow; r += 2) {
        const int p = p0 - r / 2;
        const bool row_inside = p >= 0 && p < g.out_h;
        if (!kKeep && !row_inside) continue;  // else the loads of all rows are issued at once
        const int row = (p * g.out_w + q0) * g.channels;
        Raw<T, N> raw[kColumns];
        COSS_UNROLL
        for (int c = 0; c < kColumns; ++c)
          raw[c] = fetch<N>(image, row + c * g.channels, row_inside && q0 + c >= 0 && q0 + c < g.out_w);
        if constexpr (!kKeep) load_weights(w, g.channels, -1, r, weight[0]);
        COSS_UNROLL
        for (int c = 0; c < kColumns; ++c) {
          float column[N];
          unpack(raw[c], column);
          COSS_UNROLL
          for (int s = 0; s < kWindow; ++s) {
            const int j = 2 * (c - kBefore) + s;  // the column of dx to which weight s adds this column
            if (j < 0 || j >= kStrip) continue;
            COSS_UNROLL
            for (int n = 0; n < N; ++n) sum[j][n] += column[n] * weight[kKeep ? r : 0][s][n];
          }
        }
      }
      const int h = h0 + i;
      if (h < 0 || h >= g.in_h) continue;
      COSS_UNROLL
      for (int j = 0; j < kStrip; ++j)
        if (w0 + j >= 0 && w0 + j < g.in_w) store(dx + out + (h * g.in_w + w0 + j) * g.channels, sum[j]);
    }
  }
}

template <class T, int N>
__global__ void __launch_bounds__(kThreads)
    depthwise_dgrad_any_kernel(Window g, Walk walk, const T* dy, const T* w, T* dx) {
  Spot spot;
  if (!take_spot(spot, walk)) return;
  const int channel = spot.vector * N;
  const T* image = dy + spot.image * g.out_size() + channel;
  const int64_t out = spot.image * g.in_size() + channel;
  for (int h = spot.begin; h < spot.end; ++h) {
    float sum[N] = {};
    for (int r = 0; r < g.height; ++r) {
      const int below = h + g.pad_h - r * g.dilation;
      if (below < 0 || below % g.stride != 0 || below / g.stride >= g.out_h) continue;
      for (int s = 0; s < g.width; ++s) {
        const int right = spot.column + g.pad_w - s * g.dilation;
        if (right < 0 || right % g.stride != 0 || right / g.stride >= g.out_w) continue;
        float in[N], weight[N];
        load<N>(image + (below / g.stride * g.out_w + right / g.stride) * g.channels, in);
        load<N>(w + int64_t(r * g.width + s) * g.channels + channel, weight);
        COSS_UNROLL
        for (int i = 0; i < N; ++i) sum[i] += in[i] * weight[i];
      }
    }
    store<N>(dx + out + (h * g.in_w + spot.column) * g.channels, sum);
  }
}

// --- weight gradient ------------------------------------------------------------------------------------------------

// With 25 taps the registers suffice for 4 channels and two blocks only.
template <class T, int kWindow>
constexpr int kGradientLanes = kWindow <= 3 ? kLanes<T> : 4;
template <int kWindow>
constexpr int kGradientBlocks = kWindow <= 3 ? kBlocks : 2;

// Several blocks share the items of a tile of channels. Each of these parts writes one row of sums, (taps, channels).
struct Parts {
  unsigned count = 0, items = 0;  // number of parts; items of a part
};

Parts parts_of(Context& ctx, const Walk& walk, int blocks) {
  const int64_t step = walk.items_of_block(kThreads), steps = (walk.items + step - 1) / step;
  const int64_t wanted = std::max(1, multiprocessors(ctx) * blocks / walk.tiles);  // one wave of blocks
  const int64_t steps_each = (steps + wanted - 1) / wanted;
  return {unsigned((steps + steps_each - 1) / steps_each), unsigned(steps_each * step)};
}

// Calls visit() for each item of the calling thread, with `spot` at the item. spot.vector may lie outside when there is
// none.
template <class Visit>
__device__ inline void for_items(const Walk& walk, const Parts& parts, Spot& spot, const Visit& visit) {
  const unsigned tiles = unsigned(walk.tiles);
  spot.vector = int(blockIdx.x % tiles) * walk.tile + int(threadIdx.x);
  if (spot.vector >= walk.vectors) return;
  const unsigned begin = blockIdx.x / tiles * parts.items, end = min(begin + parts.items, walk.items);
  for (unsigned item = begin + threadIdx.y; item < end; item += blockDim.y) {
    set_item(spot, walk, item);
    visit();
  }
}

template <int N, class Array>
__device__ inline void write_part(const Walk& walk, int64_t tap_of_part, int channels, Array& shared,
                                  const float (&sum)[N], float* partial) {
  const int first = int(blockIdx.x % unsigned(walk.tiles)) * walk.tile;
  sum_of_items<kThreads>(shared, sum, [&](int vector, int i, float total) {
    if (first + vector < walk.vectors) partial[tap_of_part * channels + (first + vector) * N + i] = total;
  });
}

template <class T, int kWindow, int kStride>
__global__ void __launch_bounds__(kThreads, kGradientBlocks<kWindow>)
    depthwise_wgrad_kernel(Window g, Walk walk, Parts parts, const T* __restrict__ x, const T* __restrict__ dy,
                           float* partial) {
  constexpr int N = kGradientLanes<T, kWindow>, kColumns = (kStrip - 1) * kStride + kWindow;
  COSS_SHARED(float, shared, (kSharedForItems<N, kThreads>));
  float sum[kWindow][kWindow][N] = {};
  Spot spot;
  for_items(walk, parts, spot, [&] {
    const int channel = spot.vector * N, q0 = spot.column * kStrip, w0 = q0 * kStride - g.pad_w;
    const T* image = x + spot.image * g.in_size() + channel;
    const T* gradient = dy + spot.image * g.out_size() + channel;
    for (int p = spot.begin; p < spot.end; ++p) {
      float out[kStrip][N];
      COSS_UNROLL
      for (int k = 0; k < kStrip; ++k)
        unpack(fetch<N>(gradient, (p * g.out_w + q0 + k) * g.channels, q0 + k < g.out_w), out[k]);
      COSS_UNROLL
      for (int r = 0; r < kWindow; ++r) {
        const int h = p * kStride - g.pad_h + r;
        if (h < 0 || h >= g.in_h) continue;
        const int row = (h * g.in_w + w0) * g.channels;
        Raw<T, N> raw[kColumns];
        COSS_UNROLL
        for (int c = 0; c < kColumns; ++c)
          raw[c] = fetch<N>(image, row + c * g.channels, w0 + c >= 0 && w0 + c < g.in_w);
        COSS_UNROLL
        for (int c = 0; c < kColumns; ++c) {
          float column[N];
          unpack(raw[c], column);
          COSS_UNROLL
          for (int s = 0; s < kWindow; ++s) {
            const int k = (c - s) / kStride;
            if (c < s || (c - s) % kStride != 0 || k >= kStrip) continue;
            COSS_UNROLL
            for (int i = 0; i < N; ++i) sum[r][s][i] += out[k][i] * column[i];
          }
        }
      }
    }
  });
  constexpr int kTaps = kWindow * kWindow;
  const int64_t first_tap = int64_t(blockIdx.x / unsigned(walk.tiles)) * kTaps;
  COSS_UNROLL
  for (int tap = 0; tap < kTaps; ++tap)
    write_part(walk, first_tap + tap, g.channels, shared, sum[tap / kWindow][tap % kWindow], partial);
}

// One tap per blockIdx.y.
template <class T, int N>
__global__ void __launch_bounds__(kThreads)
    depthwise_wgrad_any_kernel(Window g, Walk walk, Parts parts, const T* x, const T* dy, float* partial) {
  COSS_SHARED(float, shared, (kSharedForItems<N, kThreads>));
  const int tap = int(blockIdx.y), r = tap / g.width, s = tap % g.width;
  float sum[N] = {};
  Spot spot;
  for_items(walk, parts, spot, [&] {
    const int column = spot.column * g.stride - g.pad_w + s * g.dilation;
    if (column < 0 || column >= g.in_w) return;
    const T* image = x + spot.image * g.in_size() + spot.vector * N;
    const T* gradient = dy + spot.image * g.out_size() + spot.vector * N;
    for (int p = spot.begin; p < spot.end; ++p) {
      const int h = p * g.stride - g.pad_h + r * g.dilation;
      if (h < 0 || h >= g.in_h) continue;
      float in[N], out[N];
      load<N>(image + (h * g.in_w + column) * g.channels, in);
      load<N>(gradient + (p * g.out_w + spot.column) * g.channels, out);
      COSS_UNROLL
      for (int i = 0; i < N; ++i) sum[i] += out[i] * in[i];
    }
  });
  const int64_t part = blockIdx.x / unsigned(walk.tiles);
  write_part(walk, part * gridDim.y + tap, g.channels, shared, sum, partial);
}

__global__ void __launch_bounds__(kFinishThreads)
    depthwise_wgrad_finish_kernel(const float* partial, int parts, int64_t elements, float beta, float* dw) {
  finish_columns<1, kFinishThreads>(partial, parts, elements, int64_t(blockIdx.x) * kFinishColumns, kFinishColumns,
                                    [=](int64_t i, const double(&sums)[1]) {
                                      const double kept = beta == 0 ? 0.0 : double(beta) * double(dw[i]);
                                      dw[i] = float(kept + sums[0]);
                                    });
}

}  // namespace

void depthwise_forward(Context& ctx, const ConvParams& p, Activation activation, const Tensor& x, const Tensor& w,
                       const Tensor& bias, const Tensor& residual, Tensor& y) {
  const Window g = window_of(p, x.shape(), w.shape(), y.shape());
  COSS_ASSERT(activation <= Activation::hardswish);
  COSS_ASSERT(residual.empty() || residual.shape() == y.shape());
  if (y.numel() == 0) return;
  const int64_t images = x.shape()[0];
  dispatch("conv2d", x.dtype(), [&]<class T>() {
    const T *in = x.data<T>(), *weights = w.data<T>();
    T* out = y.mutable_data<T>();
    Epilogue<T> epilogue;
    if (!bias.empty()) epilogue.bias = bias.data<float>();
    if (!residual.empty()) epilogue.residual = residual.data<T>();
    epilogue.activation = activation;
    const bool vectors = in_vectors<T>(g.channels, {in, weights, out, epilogue.residual});
    if (vectors && dispatch_window(g, [&]<int kWindow, int kStride>() {
          launch_forward<T, kWindow, kStride>(ctx, g, images, /*turned=*/false, epilogue, in, weights, out);
        }))
      return;
    dispatch_lanes<T>(vectors, [&]<int N>() {
      const Walk walk = walk_over(ctx, images, g.out_h, g.out_w, g.channels / N);
      launch(ctx, {"depthwise_forward_any", walk.blocks(kThreads), walk.threads(kThreads)},
             depthwise_forward_any_kernel<T, N>, g, walk, epilogue, in, weights, out);
    });
  });
}

void depthwise_dgrad(Context& ctx, const ConvParams& p, const Tensor& w, const Tensor& dy, Tensor& dx) {
  const Window g = window_of(p, dx.shape(), w.shape(), dy.shape());
  if (dx.numel() == 0) return;
  const int64_t images = dx.shape()[0];
  dispatch("conv2d", dy.dtype(), [&]<class T>() {
    const T *in = dy.data<T>(), *weights = w.data<T>();
    T* out = dx.mutable_data<T>();
    const bool vectors = in_vectors<T>(g.channels, {in, weights, out});
    if (vectors && dispatch_window(g, [&]<int kWindow, int kStride>() {
          if constexpr (kStride == 1) {
            Window turned = g;
            std::swap(turned.in_h, turned.out_h);
            std::swap(turned.in_w, turned.out_w);
            turned.pad_h = kWindow - 1 - g.pad_h;
            turned.pad_w = kWindow - 1 - g.pad_w;
            launch_forward<T, kWindow, 1>(ctx, turned, images, /*turned=*/true, Epilogue<T>(), in, weights, out);
          } else {
            const Walk walk = walk_over(ctx, images, (g.in_h + g.pad_h % 2 + 1) / 2, strips_of(g.in_w + g.pad_w % 2),
                                        g.channels / kLanes<T>);
            launch(ctx, {"depthwise_dgrad2", walk.blocks(kThreads), walk.threads(kThreads)},
                   depthwise_dgrad2_kernel<T, kWindow>, g, walk, in, weights, out);
          }
        }))
      return;
    dispatch_lanes<T>(vectors, [&]<int N>() {
      const Walk walk = walk_over(ctx, images, g.in_h, g.in_w, g.channels / N);
      launch(ctx, {"depthwise_dgrad_any", walk.blocks(kThreads), walk.threads(kThreads)},
             depthwise_dgrad_any_kernel<T, N>, g, walk, in, weights, out);
    });
  });
}

void depthwise_wgrad(Context& ctx, const ConvParams& p, const Tensor& x, const Tensor& dy, float beta, Tensor& dw) {
  const Window g = window_of(p, x.shape(), dw.shape(), dy.shape());
  const int64_t images = x.shape()[0], elements = dw.numel();
  if (elements == 0) return;
  float* gradient = dw.mutable_data<float>();
  const float* partial = nullptr;
  unsigned count = 0;  // 0 for an empty batch
  if (dy.numel() > 0) {
    dispatch("conv2d", x.dtype(), [&]<class T>() {
      const T *in = x.data<T>(), *out = dy.data<T>();
      // Cuts the items into parts for `blocks` blocks at a time, and calls run(parts, partial sums).
      auto launch_parts = [&](const Walk& walk, int blocks, const auto& run) {
        const Parts parts = parts_of(ctx, walk, blocks);
        auto* sums = static_cast<float*>(ctx.workspace(size_t(parts.count) * size_t(elements) * sizeof(float)));
        run(parts, sums);
        count = parts.count;
        partial = sums;
      };
      const bool vectors = in_vectors<T>(g.channels, {in, out});
      if (vectors && dispatch_window(g, [&]<int kWindow, int kStride>() {
            constexpr int kCount = kGradientLanes<T, kWindow>;
            const Walk walk = walk_over(ctx, images, g.out_h, strips_of(g.out_w), g.channels / kCount);
            launch_parts(walk, kGradientBlocks<kWindow>, [&](const Parts& parts, float* sums) {
              launch(ctx, {"depthwise_wgrad", dim3(parts.count * unsigned(walk.tiles)), walk.threads(kThreads)},
                     depthwise_wgrad_kernel<T, kWindow, kStride>, g, walk, parts, in, out, sums);
            });
          }))
        return;
      dispatch_lanes<T>(vectors, [&]<int N>() {
        const Walk walk = walk_over(ctx, images, g.out_h, g.out_w, g.channels / N);
        launch_parts(walk, kBlocks, [&](const Parts& parts, float* sums) {
          launch(ctx,
                 {"depthwise_wgrad_any", dim3(parts.count * unsigned(walk.tiles), unsigned(g.height * g.width)),
                  walk.threads(kThreads)},
                 depthwise_wgrad_any_kernel<T, N>, g, walk, parts, in, out, sums);
        });
      });
    });
  }
  launch(ctx, {"depthwise_wgrad_finish", dim3(blocks_for(elements, kFinishColumns)), dim3(kFinishThreads)},
         depthwise_wgrad_finish_kernel, partial, int(count), elements, beta, gradient);
}

}  // namespace coss::cuda
