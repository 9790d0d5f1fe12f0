// A Walk says how the kernels over images (N,H,W,C) share their work. Also here: loads of vectors of channels that may
// lie outside of an image.
//
// The channels of a pixel are cut into vectors. A block takes a tile of neighboring vectors (threadIdx.x) of several
// items (threadIdx.y), so a warp reads whole sectors. An item is one column, or a strip of columns, of an image over a
// few rows, which its thread visits from top to bottom: so rows that windows share are still in the L1 cache, and the
// thread's preparations serve all rows.
#pragma once
#include <algorithm>

#include "engine/cuda/device.h"
#include "engine/tensor.h"

namespace coss::cuda {

// --- vectors -------------------------------------------------------------------------------------------------------

// N elements of T as they are in memory, in 32-bit words. A load outside of the image is skipped and leaves zeros. The
// compiler can issue all loads of a window before it needs the first.
template <class T, int N>
struct [[gnu::may_alias]] alignas(sizeof(T) * N < 16 ? sizeof(T) * N : 16) Raw {
  uint32_t word[sizeof(T) * N / 4];
};
template <class T>
struct Raw<T, 1> {
  T item;
};

// The elements at base + offset, or zeros where not `inside`.
template <int N, class T>
__device__ inline Raw<T, N> fetch(const T* base, int64_t offset, bool inside) {
  Raw<T, N> raw{};
  if (inside) raw = *reinterpret_cast<const Raw<T, N>*>(base + offset);
  return raw;
}
// The elements at base + offset, or `word` repeated where not `inside`.
template <int N, class T>
__device__ inline Raw<T, N> fetch_or(uint32_t word, const T* base, int64_t offset, bool inside) {
  Raw<T, N> raw;
  COSS_UNROLL
  for (uint32_t& item : raw.word) item = word;
  if (inside) raw = *reinterpret_cast<const Raw<T, N>*>(base + offset);
  return raw;
}
template <int N, class T>
__device__ inline void put_raw(T* p, const Raw<T, N>& raw) {
  *reinterpret_cast<Raw<T, N>*>(p) = raw;
}
template <class T, int N>
__device__ inline void unpack(const Raw<T, N>& raw, float (&out)[N]) {
  if constexpr (N == 1) {
    out[0] = to_float(raw.item);
  } else {
    COSS_UNROLL
    for (int i = 0; i < N; ++i) {
      if constexpr (sizeof(T) == 4) {
        out[i] = __uint_as_float(raw.word[i]);
      } else {
        T item;
        item.bits = uint16_t(raw.word[i / 2] >> (i % 2 * 16));
        out[i] = to_float(item);
      }
    }
  }
}

// Elements in 16 bytes.
template <class T>
constexpr int kLanes = int(16 / sizeof(T));

// Whether tensors of `channels` channels at these addresses can be read in vectors of kLanes elements.
template <class T>
bool in_vectors(int64_t channels, std::initializer_list<const void*> addresses) {
  return channels % kLanes<T> == 0 && std::all_of(addresses.begin(), addresses.end(), [](const void* p) {
           return reinterpret_cast<uintptr_t>(p) % 16 == 0;
         });
}

// --- who does what -------------------------------------------------------------------------------------------------

struct Walk {
  int vectors = 0, tile = 0, tiles = 0;  // vectors of a pixel, vectors of a block, tiles of a pixel
  int height = 0, rows = 0, chunks = 0;  // rows of an image, of an item, items down an image
  int across = 0;                        // items across an image
  unsigned items = 0;                    // in all; the order is across first, then chunks, then images

  int items_of_block(int threads) const { return threads / tile; }
  dim3 threads(int most) const { return dim3(unsigned(tile), unsigned(items_of_block(most))); }
  // For kernels whose threads take one item each.
  dim3 blocks(int most) const { return dim3(unsigned(tiles) * blocks_for(items, items_of_block(most))); }
};

// Vectors of a block: all of a pixel, or equal parts of at most a warp.
inline int tile_of(int64_t vectors) {
  const int64_t tiles = (vectors + kWarp - 1) / kWarp;
  return int((vectors + tiles - 1) / tiles);
}

// Makes items as high as possible with `threads` threads per multiprocessor, and at most `most` rows.
inline Walk walk_over(Context& ctx, int64_t images, int64_t height, int64_t across, int64_t vectors,
                      int64_t threads = 2048, int64_t most = 16) {
  Walk walk;
  walk.vectors = int(vectors);
  walk.tile = tile_of(vectors);
  walk.tiles = (walk.vectors + walk.tile - 1) / walk.tile;
  walk.height = int(height);
  walk.across = int(across);
  const int64_t shares = images * height * across * vectors / (threads * multiprocessors(ctx));
  const int64_t rows = std::clamp<int64_t>(shares, 1, std::min(most, height));
  walk.chunks = int((height + rows - 1) / rows);
  walk.rows = int((height + walk.chunks - 1) / walk.chunks);
  const int64_t items = images * walk.chunks * across;
  COSS_CHECK(items < (int64_t(1) << 31) && vectors < (int64_t(1) << 31),
             "[image] more than 2^31 columns of pixels in one tensor");
  walk.items = unsigned(items);
  return walk;
}

// The position of a thread: its vector of channels and its item.
struct Spot {
  int vector = 0;
  int column = 0;          // of the `across` columns
  int begin = 0, end = 0;  // rows
  int64_t image = 0;
};
__device__ inline void set_item(Spot& spot, const Walk& walk, unsigned item) {
  spot.column = int(item % unsigned(walk.across));
  const unsigned rest = item / unsigned(walk.across);
  spot.begin = int(rest % unsigned(walk.chunks)) * walk.rows;
  spot.end = min(spot.begin + walk.rows, walk.height);
  spot.image = rest / unsigned(walk.chunks);
}
// For launches of walk.blocks() x walk.threads(): false when the thread has nothing to do.
__device__ inline bool take_spot(Spot& spot, const Walk& walk) {
  const unsigned tiles = unsigned(walk.tiles);
  spot.vector = int(blockIdx.x % tiles) * walk.tile + int(threadIdx.x);
  const unsigned item = blockIdx.x / tiles * blockDim.y + threadIdx.y;
  if (spot.vector >= walk.vectors || item >= walk.items) return false;
  set_item(spot, walk, item);
  return true;
}

// --- sums over a block's items -------------------------------------------------------------------------------------

// Elements of the shared array that sum_of_items needs. Its rows are shifted, so that neither phase has bank conflicts.
template <int N, int kThreads>
constexpr int kSharedForItems = N*(kThreads + 4);

// Adds the threads' values over threadIdx.y, in order, and calls write(vector, i, total) once for each element of each
// of the tile's vectors: neighboring threads get neighboring elements. All threads call it.
template <int kThreads, int N, class Array, class Write>
__device__ inline void sum_of_items(Array& shared, const float (&value)[N], const Write& write) {
  const int tile = int(blockDim.x), items = int(blockDim.y);
  const int thread = int(threadIdx.y) * tile + int(threadIdx.x);
  COSS_UNROLL
  for (int i = 0; i < N; ++i) shared[i * (kThreads + 4) + thread] = value[i];
  __syncthreads();
  for (int element = thread; element < tile * N; element += tile * items) {
    const int vector = element / N, i = element % N;
    float total = 0;
    for (int item = 0; item < items; ++item) {
      const float part = shared[i * (kThreads + 4) + item * tile + vector];
      total += part;
    }
    write(vector, i, total);
  }
  __syncthreads();  // shared may be written again
}

}  // namespace coss::cuda
