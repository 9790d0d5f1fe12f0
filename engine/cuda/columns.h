// Sums down the columns of a matrix, in two stages and always in the same order: blocks sum their rows in float and
// leave one row of partial sums each, then the partial rows are summed in double. Before them: how blocks share a
// matrix.
#pragma once
#include <algorithm>

#include "engine/cuda/device.h"
#include "engine/tensor.h"

namespace coss::cuda {

// How a grid covers a (rows, columns) matrix. A block has `across` vectors of each of `down` rows at a time, one per
// thread, and `rows_per_block` rows in all. `side` blocks cover the columns, `count` blocks the rows.
struct Tiles {
  int64_t rows = 0, columns = 0, rows_per_block = 0;
  int across = 0, down = 0;
  unsigned side = 0, count = 0;
  unsigned blocks() const { return side * count; }
};

// How many vectors of a row one block takes: `best` where that divides their number, else up to `most`, a divisor if
// possible.
inline int tile_width(int64_t vectors, int best, int most) {
  if (vectors % best == 0) return best;
  if (vectors <= most) return int(vectors);
  for (int width = most; width > most / 2; --width)
    if (vectors % width == 0) return width;
  const int64_t parts = (vectors + most - 1) / most;
  return int((vectors + parts - 1) / parts);
}

// Tiles of vectors with n elements; share_rows sets rows_per_block and count.
inline Tiles make_tiles(int64_t rows, int64_t columns, int n, int threads, int best, int most) {
  const int64_t vectors = columns / n;
  Tiles tiles;
  tiles.rows = rows;
  tiles.columns = columns;
  tiles.across = tile_width(vectors, best, most);
  tiles.down = threads / tiles.across;
  tiles.side = unsigned((vectors + tiles.across - 1) / tiles.across);
  return tiles;
}

// Shares the rows evenly among about `blocks` blocks, or fewer where a thread would get fewer than `unroll` rows.
inline void share_rows(Tiles& tiles, int64_t blocks, int unroll) {
  const int64_t pass = int64_t(tiles.down) * unroll, passes = (tiles.rows + pass - 1) / pass;
  const int64_t most = std::max<int64_t>(1, std::min(passes, blocks / int64_t(tiles.side)));
  const int64_t each = std::max<int64_t>(1, (passes + most - 1) / most);
  tiles.rows_per_block = each * pass;
  tiles.count = unsigned((passes + each - 1) / each);
}

// Where a thread works: `column` is the first element of its vector in a row; its rows are first, first + down … below
// end.
struct Place {
  int64_t first = 0, end = 0;
  int64_t column = 0;
  bool works = false;
};

// Block b of a tile; b counts from the top, or from the bottom.
template <int N>
__device__ inline Place place_of(const Tiles& tiles, unsigned tile, unsigned b) {
  const int t = int(threadIdx.x);
  Place place;
  place.column = (int64_t(tile) * tiles.across + t % tiles.across) * N;
  place.works = t < tiles.across * tiles.down && place.column < tiles.columns;
  const int64_t begin = int64_t(b) * tiles.rows_per_block;
  place.first = begin + t / tiles.across;
  place.end = place.works ? min(tiles.rows, begin + tiles.rows_per_block) : 0;
  return place;
}

template <int kCount>
struct Count {
  static constexpr int value = kCount;
};

// Calls body(Count<n>, i) for n vectors, the first at element i, each `down` rows below the one before. A body that
// loads all of them before it uses one has that many loads in flight.
template <int kUnroll, class Body>
__device__ inline void for_rows(const Tiles& tiles, const Place& place, const Body& body) {
  const int64_t down = tiles.down;
  int64_t row = place.first;
  for (; row + (kUnroll - 1) * down < place.end; row += kUnroll * down)
    body(Count<kUnroll>{}, row * tiles.columns + place.column);
  for (; row < place.end; row += down) body(Count<1>{}, row * tiles.columns + place.column);
}

// --- first stage -----------------------------------------------------------------------------------------------------

constexpr int kSumThreads = 512;
constexpr int kSumBlocks = 2;                    // resident on a multiprocessor, at 64 registers a thread
constexpr int64_t kSumBytes = 128 << 10;         // a block reads at least this much, if there is so much
constexpr int kSumWidth = 16, kSumScalars = 32;  // vectors or single elements side by side, at most

// Rows that a thread loads at a time: 64 bytes, or eight rows where vectors are single elements.
template <class T, int N, int kInputs>
constexpr int kRowsInFlight = 64 / std::max(8, std::min(64, int(sizeof(T)) * N * kInputs));

// The first stage's grid for `bytes` of input. Eight vectors of a 16-bit type are 128 bytes of a row, a whole cache
// line; narrow tiles give few partial sums. The grid depends on the shape and the device only.
template <int N>
Tiles sum_tiles(Context& ctx, int64_t rows, int64_t columns, int64_t bytes, int unroll) {
  Tiles tiles =
      make_tiles(rows, columns, N, kSumThreads, N == 1 ? kSumScalars : kSumWidth / 2, N == 1 ? kSumScalars : kSumWidth);
  const int64_t processors = multiprocessors(ctx), resident = processors * kSumBlocks;
  // Small inputs get one block per multiprocessor, for few partial sums. Large ones get up to four waves, which
  // even out slow multiprocessors.
  const int64_t waves = std::min<int64_t>(4, std::max<int64_t>(1, bytes / (resident * kSumBytes)));
  share_rows(tiles, bytes <= processors * kSumBytes ? processors : waves * resident, unroll);
  return tiles;
}

// Adds sums[term * N + i] of all threads over the block's rows, and writes them to row `b` of `partials`, (count,
// kTerms, columns). All threads call it.
template <int kTerms, int N>
__device__ inline void write_partials(const Tiles& tiles, unsigned tile, unsigned b, const float (&sums)[kTerms * N],
                                      float* partials) {
  constexpr int kWidth = N == 1 ? kSumScalars : kSumWidth;
  static_assert(kTerms * N * kWidth <= kSumThreads);
  COSS_SHARED(float, shared, kTerms* N*(kSumThreads + kWidth));
  const int t = int(threadIdx.x), across = tiles.across;
  // Element i of one term is stored side by side for all threads; the row length avoids bank conflicts in the next
  // loop.
  const int stride = kSumThreads + across;
  if (t < across * tiles.down) {
    COSS_UNROLL
    for (int k = 0; k < kTerms * N; ++k) shared[k * stride + t] = sums[k];
  }
  __syncthreads();

  // `parts` threads add each of the block's sums, then one thread adds their results.
  const int outputs = kTerms * N * across, parts = kSumThreads / outputs;
  const int output = t % outputs, part = t / outputs;
  float total = 0;
  if (part < parts)
    for (int row = part; row < tiles.down; row += parts)
      total += shared[output / across * stride + row * across + output % across];
  __syncthreads();
  if (part < parts) shared[t] = total;
  __syncthreads();
  if (t >= outputs) return;
  total = 0;
  for (int i = 0; i < parts; ++i) total += shared[i * outputs + t];
  const int k = t / across;
  const int64_t column = (int64_t(tile) * across + t % across) * N + k % N;
  if (column < tiles.columns) partials[(int64_t(b) * kTerms + k / N) * tiles.columns + column] = total;
}

// --- second stage ----------------------------------------------------------------------------------------------------

// Calls body(column, sums) once for each of the n <= kThreads columns from `first`, with the sums over `count` rows of
// partials. All threads call it; the order of the additions depends on n and count only.
template <int kTerms, int kThreads, class Body>
__device__ inline void finish_columns(const float* partials, int count, int64_t columns, int64_t first, int n,
                                      const Body& body) {
  COSS_SHARED(double, shared, kTerms* kThreads);
  constexpr int kBatch = 8;  // rows that a thread loads at a time
  const int t = int(threadIdx.x), slices = kThreads / n, slice = t / n;
  const int64_t column = first + t % n;
  double sums[kTerms] = {};
  if (slice < slices && column < columns) {
    for (int row = slice; row < count; row += kBatch * slices) {
      float parts[kBatch][kTerms];
      COSS_UNROLL
      for (int i = 0; i < kBatch; ++i) {
        COSS_UNROLL
        for (int term = 0; term < kTerms; ++term) {
          const int at = row + i * slices;
          parts[i][term] = at < count ? partials[(int64_t(at) * kTerms + term) * columns + column] : 0.0f;
        }
      }
      COSS_UNROLL
      for (int i = 0; i < kBatch; ++i) {
        COSS_UNROLL
        for (int term = 0; term < kTerms; ++term) sums[term] += double(parts[i][term]);
      }
    }
  }
  COSS_UNROLL
  for (int term = 0; term < kTerms; ++term) shared[term * kThreads + t] = sums[term];
  __syncthreads();
  if (t < n && column < columns) {
    COSS_UNROLL
    for (int term = 0; term < kTerms; ++term) {
      sums[term] = 0;
      for (int i = 0; i < slices; ++i) sums[term] += shared[term * kThreads + i * n + t];
    }
    body(column, sums);
  }
}

// For kernels that do the second stage alone: 16 columns per block, so that many blocks share the reading.
constexpr int kFinishThreads = 512, kFinishColumns = 16;

}  // namespace coss::cuda
