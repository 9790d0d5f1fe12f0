// One pass over flat arrays, that is, over tensors as plain sequences of elements. A block takes a tile; its threads
// load all their vectors before they store the first, so that enough bytes are in flight to keep the memory busy (about
// 35 KB per multiprocessor on an H200).
//
// An Op is a small struct that the kernel gets by value:
//   kItems                        elements of a vector: kFlatItems of the types that it loads and stores
//   struct Items                  what a thread keeps of one vector
//   aligned()                     whether its pointers allow loads of whole vectors, which begin at multiples of kItems
//   read<kWhole>(i, n, items)     loads elements i .. i + n - 1; n == kItems where kWhole
//   write<kWhole>(i, n, items)    computes and stores them
// Each element is used by one thread only, so an output may be one of the inputs.
#pragma once
#include <algorithm>
#include <cstdint>

#include "engine/cuda/device.h"

namespace coss::cuda {

constexpr int kFlatThreads = 256;
constexpr int kFlatVectors = 2;  // per thread and tile
// 16 bytes of the widest type: lanes then touch neighboring addresses in every array.
template <class... T>
constexpr int kFlatItems = 16 / int(std::max({sizeof(T)...}));
template <class Op>
constexpr int kFlatTile = kFlatThreads* kFlatVectors* Op::kItems;

template <int kItems, class... T>
bool flat_aligned(const T*... pointers) {
  return ((reinterpret_cast<uintptr_t>(pointers) % (kItems * sizeof(T)) == 0) && ...);
}

template <bool kWhole, int N, class T>
__device__ inline void get(const T* p, int n, float (&out)[N]) {
  if constexpr (kWhole)
    load<N>(p, out);
  else
    load_part<N>(p, n, out);
}
template <bool kWhole, int N, class T>
__device__ inline void put(T* p, int n, const float (&in)[N]) {
  if constexpr (kWhole)
    store<N>(p, in);
  else
    store_part<N>(p, n, in);
}

// Elements begin .. end - 1, by the threads of this block. Tiles begin at multiples of kItems. Tiles that reach outside
// the range, and all tiles of pointers that are not aligned, are done vector by vector.
template <class Op>
__device__ inline void flat_range(const Op& op, int64_t begin, int64_t end, bool aligned) {
  constexpr int kItems = Op::kItems, kStride = kFlatThreads * kItems;
  for (int64_t tile = begin / kItems * kItems; tile < end; tile += kFlatTile<Op>) {
    const int64_t own = tile + int64_t(threadIdx.x) * kItems;
    if (aligned && tile >= begin && tile + kFlatTile<Op> <= end) {
      typename Op::Items items[kFlatVectors];
      COSS_UNROLL
      for (int v = 0; v < kFlatVectors; ++v) op.template read<true>(own + v * kStride, kItems, items[v]);
      COSS_UNROLL
      for (int v = 0; v < kFlatVectors; ++v) op.template write<true>(own + v * kStride, kItems, items[v]);
    } else {
      for (int64_t i = own; i < tile + kFlatTile<Op> && i < end; i += kStride) {
        typename Op::Items items;
        if (aligned && i >= begin && i + kItems <= end) {
          op.template read<true>(i, kItems, items);
          op.template write<true>(i, kItems, items);
        } else {
          const int64_t first = i < begin ? begin : i, last = i + kItems < end ? i + kItems : end;
          op.template read<false>(first, int(last - first), items);
          op.template write<false>(first, int(last - first), items);
        }
      }
    }
  }
}

template <class Op>
__global__ void __launch_bounds__(kFlatThreads) flat_kernel(Op op, int64_t count, bool aligned) {
  const int64_t begin = int64_t(blockIdx.x) * kFlatTile<Op>;
  flat_range(op, begin, begin + kFlatTile<Op> < count ? begin + kFlatTile<Op> : count, aligned);
}

template <class Op>
void run_flat(Context& ctx, const char* name, int64_t count, const Op& op) {
  if (count > 0)
    launch(ctx, {name, blocks_for(count, kFlatTile<Op>), kFlatThreads}, flat_kernel<Op>, op, count, op.aligned());
}

}  // namespace coss::cuda
