// Scaling of an image's channels, for squeeze-and-excitation, and copies of columns from one matrix to another.
//
// Bytes of a 16-bit type per element: scale_channels forward reads 2 and writes 2; backward reads 4 and writes 2, in
// one pass: a block has a part of the positions of one image, writes dx and leaves the sums of dy * x over them. Where
// an image is one part, these sums are ds; else a small kernel adds the parts, always in the same order. copy_columns
// reads and writes each copied byte once, in words as wide as all offsets allow.
#include <limits>

#include "engine/cuda/columns.h"
#include "engine/cuda/walk.h"
#include "engine/dispatch.h"
#include "engine/kernels.h"

namespace coss::cuda {
namespace {

constexpr int kThreads = 256;  // of a block, at most

// 1 or kLanes channels, as the tensors allow.
template <class T, class Body>
void dispatch_lanes(bool vectors, Body&& body) {
  if (vectors)
    body.template operator()<kLanes<T>>();
  else
    body.template operator()<1>();
}

// --- scale_channels, forward -----------------------------------------------------------------------------------------

constexpr int kVectorsEach = 4;  // vectors that a thread loads before it stores the first

// Images as rows of vectors; a block takes kThreads * kVectorsEach neighboring vectors of an image.
struct Rows {
  int64_t numel = 0;       // elements of an image
  unsigned per_image = 0;  // blocks per image
  unsigned vectors = 0;    // vectors of a pixel
  unsigned of_image = 0;   // vectors of an image
};

template <class T, int N>
__global__ void __launch_bounds__(kThreads) scale_channels_forward_kernel(Rows g, const T* x, const T* s, T* y) {
  const int64_t image = blockIdx.x / g.per_image;
  const unsigned first = blockIdx.x % g.per_image * unsigned(kThreads * kVectorsEach) + threadIdx.x;
  x += image * g.numel;
  y += image * g.numel;
  s += image * g.vectors * N;
  Raw<T, N> raw[kVectorsEach], factor[kVectorsEach];
  COSS_UNROLL
  for (int k = 0; k < kVectorsEach; ++k) {
    const unsigned v = first + unsigned(k * kThreads);
    const bool inside = v < g.of_image;
    raw[k] = fetch<N>(x, int64_t(v) * N, inside);
    factor[k] = fetch<N>(s, int64_t(v % g.vectors) * N, inside);
  }
  COSS_UNROLL
  for (int k = 0; k < kVectorsEach; ++k) {
    const unsigned v = first + unsigned(k * kThreads);
    float value[N], by[N];
    unpack(raw[k], value);
    unpack(factor[k], by);
    COSS_UNROLL
    for (int i = 0; i < N; ++i) value[i] *= by[i];
    if (v < g.of_image) store<N>(y + int64_t(v) * N, value);
  }
}

// --- scale_channels, backward ----------------------------------------------------------------------------------------

constexpr int kBatch = 4;       // pixels of both inputs that a thread loads at a time
constexpr int kMostParts = 64;  // parts of an image, at most

struct Parts {
  int64_t positions = 0, channels = 0, each = 0;  // `each`: positions of a part
  int vectors = 0, tile = 0;                      // vectors of a pixel; of a block
  unsigned tiles = 0, count = 0;                  // tiles of a pixel; parts of an image
};

Parts parts_of(Context& ctx, const Shape& x, int lanes, int64_t blocks) {
  Parts parts;
  parts.positions = x[1] * x[2];
  parts.channels = x[3];
  parts.vectors = int(x[3] / lanes);
  parts.tile = tile_of(parts.vectors);
  parts.tiles = unsigned((parts.vectors + parts.tile - 1) / parts.tile);
  // As many parts as keep all multiprocessors busy, but none smaller than the pixels that a thread loads at a time.
  const int64_t least = int64_t(kBatch) * (kThreads / parts.tile), wanted = int64_t(multiprocessors(ctx)) * blocks;
  const int64_t count = std::clamp<int64_t>(wanted / (x[0] * parts.tiles), 1, kMostParts);
  parts.each = std::max(least, (parts.positions + count - 1) / count);
  parts.count = unsigned((parts.positions + parts.each - 1) / parts.each);
  COSS_CHECK(x[0] * parts.tiles * parts.count < (int64_t(1) << 31), "[scale_channels] too many images");
  return parts;
}

// Sums go to `partials` (parts, images, channels), or to ds where there is one part.
template <class T, int N>
__global__ void __launch_bounds__(kThreads)
    scale_channels_backward_kernel(Parts g, int64_t images, const T* x, const T* s, const T* dy, T* dx, T* ds,
                                   float* partials) {
  COSS_SHARED(float, shared, (kSharedForItems<N, kThreads>));
  const int first = int(blockIdx.x % g.tiles) * g.tile, vector = first + int(threadIdx.x);
  const unsigned part = blockIdx.x / g.tiles % g.count;
  const int64_t image = blockIdx.x / g.tiles / g.count;
  float sum[N] = {};
  if (vector < g.vectors) {
    float factor[N];
    unpack(fetch<N>(s, image * g.channels + int64_t(vector) * N, true), factor);
    const int64_t end = min(g.positions, (part + 1) * g.each), down = blockDim.y;
    const int64_t base = image * g.positions * g.channels + int64_t(vector) * N;
    for (int64_t i = part * g.each + threadIdx.y; i < end; i += kBatch * down) {
      Raw<T, N> raw_x[kBatch], raw_dy[kBatch];
      COSS_UNROLL
      for (int k = 0; k < kBatch; ++k) {
        const int64_t at = i + k * down;
        raw_x[k] = fetch<N>(x, base + at * g.channels, at < end);
        raw_dy[k] = fetch<N>(dy, base + at * g.channels, at < end);
      }
      COSS_UNROLL
      for (int k = 0; k < kBatch; ++k) {
        const int64_t at = i + k * down;
        float value[N], gradient[N];
        unpack(raw_x[k], value);
        unpack(raw_dy[k], gradient);
        COSS_UNROLL
        for (int j = 0; j < N; ++j) {
          sum[j] += gradient[j] * value[j];
          gradient[j] *= factor[j];
        }
        if (at < end) store<N>(dx + base + at * g.channels, gradient);
      }
    }
  }
  sum_of_items<kThreads>(shared, sum, [&](int v, int i, float total) {
    if (first + v >= g.vectors) return;
    const int64_t at = image * g.channels + int64_t(first + v) * N + i;
    if (g.count == 1)
      ds[at] = from_float<T>(total);
    else
      partials[part * images * g.channels + at] = total;
  });
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    scale_channels_finish_kernel(int64_t elements, unsigned parts, const float* partials, T* ds) {
  const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= elements) return;
  float sum = 0;
  for (unsigned part = 0; part < parts; ++part) sum += partials[part * elements + i];
  ds[i] = from_float<T>(sum);
}

// --- copy_columns ----------------------------------------------------------------------------------------------------

constexpr int kRowsEach = 4;

template <class Word>
__global__ void __launch_bounds__(kThreads)
    copy_columns_kernel(Tiles tiles, ColumnMap map, int64_t x_width, int64_t y_width, const Word* x, Word* y) {
  const Place place = place_of<1>(tiles, blockIdx.x % tiles.side, blockIdx.x / tiles.side);
  const Word* from = x + map.from + place.column * map.from_stride;
  Word* to = y + map.to + place.column * map.to_stride;
  for (int64_t row = place.first; row < place.end; row += kRowsEach * tiles.down) {
    Word word[kRowsEach] = {};
    COSS_UNROLL
    for (int i = 0; i < kRowsEach; ++i) {
      const int64_t at = row + int64_t(i) * tiles.down;
      if (at < place.end) word[i] = from[at * x_width];
    }
    COSS_UNROLL
    for (int i = 0; i < kRowsEach; ++i) {
      const int64_t at = row + int64_t(i) * tiles.down;
      if (at < place.end) to[at * y_width] = word[i];
    }
  }
}

// All sizes and offsets are in words.
template <class Word>
void launch_copy(Context& ctx, const ColumnMap& map, int64_t rows, int64_t x_width, int64_t y_width, const void* x,
                 void* y) {
  Tiles tiles = make_tiles(rows, map.count, 1, kThreads, kThreads, kThreads);
  share_rows(tiles, std::numeric_limits<int64_t>::max(), kRowsEach);
  launch(ctx, {"copy_columns", tiles.blocks(), kThreads}, copy_columns_kernel<Word>, tiles, map, x_width, y_width,
         static_cast<const Word*>(x), static_cast<Word*>(y));
}

}  // namespace

void scale_channels_forward(Context& ctx, const Tensor& x, const Tensor& s, Tensor& y) {
  const Shape& shape = x.shape();
  COSS_ASSERT(shape.rank == 4 && s.numel() == shape[0] * shape[3] && y.shape() == shape);
  if (x.numel() == 0) return;
  const int64_t numel = shape[1] * shape[2] * shape[3];
  COSS_CHECK(numel < (int64_t(1) << 31), "[scale_channels] one image of " + shape.str() + " has more than 2^31 values");
  dispatch("scale_channels", x.dtype(), [&]<class T>() {
    const T *in = x.data<T>(), *factors = s.data<T>();
    T* out = y.mutable_data<T>();
    dispatch_lanes<T>(in_vectors<T>(shape[3], {in, factors, out}), [&]<int N>() {
      Rows rows;
      rows.numel = numel;
      rows.vectors = unsigned(shape[3] / N);
      rows.of_image = unsigned(numel / N);
      rows.per_image = blocks_for(numel / N, kThreads * kVectorsEach);
      COSS_CHECK(shape[0] * rows.per_image < (int64_t(1) << 31), "[scale_channels] too many images");
      launch(ctx, {"scale_channels_forward", unsigned(shape[0]) * rows.per_image, kThreads},
             scale_channels_forward_kernel<T, N>, rows, in, factors, out);
    });
  });
}

void scale_channels_backward(Context& ctx, const Tensor& x, const Tensor& s, const Tensor& dy, Tensor& dx, Tensor& ds) {
  constexpr int64_t kBlocksEach = 8;  // blocks for each multiprocessor, in about one wave
  const Shape& shape = x.shape();
  COSS_ASSERT(shape.rank == 4 && s.numel() == shape[0] * shape[3] && ds.numel() == s.numel());
  COSS_ASSERT(dy.shape() == shape && dx.shape() == shape);
  if (x.numel() == 0) {
    if (ds.numel() > 0) zero_bytes(ctx, ds.mutable_raw(), ds.bytes());
    return;
  }
  dispatch("scale_channels", x.dtype(), [&]<class T>() {
    const T *in = x.data<T>(), *factors = s.data<T>(), *from = dy.data<T>();
    T *out = dx.mutable_data<T>(), *sums = ds.mutable_data<T>();
    dispatch_lanes<T>(in_vectors<T>(shape[3], {in, factors, from, out}), [&]<int N>() {
      const Parts parts = parts_of(ctx, shape, N, kBlocksEach);
      float* partials = nullptr;
      if (parts.count > 1)
        partials = static_cast<float*>(ctx.workspace(size_t(parts.count) * size_t(ds.numel()) * sizeof(float)));
      const dim3 threads(unsigned(parts.tile), unsigned(kThreads / parts.tile));
      launch(ctx, {"scale_channels_backward", unsigned(shape[0]) * parts.count * parts.tiles, threads},
             scale_channels_backward_kernel<T, N>, parts, shape[0], in, factors, from, out, sums, partials);
      if (parts.count > 1)
        launch(ctx, {"scale_channels_finish", blocks_for(ds.numel(), kThreads), kThreads},
               scale_channels_finish_kernel<T>, ds.numel(), parts.count, partials, sums);
    });
  });
}

void copy_columns(Context& ctx, const ColumnMap& p, const Tensor& x, Tensor& y) {
  const int64_t rows = x.shape().rows(), x_width = x.shape().back(), y_width = y.shape().back();
  COSS_ASSERT(y.shape().rows() == rows && x.dtype() == y.dtype());
  if (rows == 0 || p.count == 0) return;
  COSS_ASSERT(p.from >= 0 && p.from + (p.count - 1) * p.from_stride < x_width);
  COSS_ASSERT(p.to >= 0 && p.to + (p.count - 1) * p.to_stride < y_width);
  const void* from = x.raw();
  void* to = y.mutable_raw();
  const int64_t size = int64_t(size_of(x.dtype()));
  // The widest word that divides all sizes and offsets. Columns that are not neighbors are copied one by one.
  int64_t word = size;
  if (p.from_stride == 1 && p.to_stride == 1) {
    const uint64_t all = uint64_t(p.from | p.to | p.count | x_width | y_width) * uint64_t(size) |
                         reinterpret_cast<uintptr_t>(from) | reinterpret_cast<uintptr_t>(to);
    while (word < 16 && all % uint64_t(2 * word) == 0) word *= 2;
  }
  const int64_t items = word / size;
  const ColumnMap map{p.from / items, p.from_stride, p.to / items, p.to_stride, p.count / items};
  auto run = [&]<class Word>() { launch_copy<Word>(ctx, map, rows, x_width / items, y_width / items, from, to); };
  if (word == 16)
    run.template operator()<uint128_t>();
  else if (word == 8)
    run.template operator()<uint64_t>();
  else if (word == 4)
    run.template operator()<uint32_t>();
  else
    run.template operator()<uint16_t>();
}

}  // namespace coss::cuda
