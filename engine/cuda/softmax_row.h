// What softmax, its logarithm and the cross-entropy share: how the threads pass over a row, and the two sums of a row
// in one reading. Exponentials have base 2, as in the hardware.
#pragma once
#include <cstdint>
#include <limits>
#include <type_traits>

#include "engine/cuda/device.h"
#include "engine/tensor.h"

namespace coss::cuda {

constexpr float kLog2E = 1.44269504f;
constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
constexpr float kLeastFinite = std::numeric_limits<float>::lowest();

// kThreads threads work on a row: a warp or a block. Blocks with a warp per row have kRowBlock threads.
constexpr int kRowBlock = 128;
template <int kThreads>
constexpr int kRowsPerBlock = kThreads == kWarp ? kRowBlock / kWarp : 1;
template <int kThreads>
__device__ inline int64_t own_row() {
  return int64_t(blockIdx.x) * kRowsPerBlock<kThreads> + threadIdx.x / kThreads;
}

template <int kThreads>
__device__ inline float row_sum(float value) {
  if constexpr (kThreads == kWarp)
    return warp_sum(value);
  else
    return block_sum<kThreads>(value);
}
template <int kThreads>
__device__ inline float row_max(float value) {
  if constexpr (kThreads == kWarp)
    return warp_max(value);
  else
    return block_max<kThreads>(value);
}

// visit(i, v, whole) for each of this thread's groups of N elements v = row[i], row[i + 1] …; whole is false_type where
// the group may reach beyond the row, and then the elements outside are -inf. Groups begin at multiples of N of the
// matrix, not of the row, which is the `row_index`-th: so whole groups are aligned in every row, whatever its width.
template <int kThreads, int N, class T, class Visit>
__device__ inline void for_row(const T* row, int64_t row_index, int width, Visit visit) {
  constexpr int kTogether = N == 1 ? 8 : 2;  // groups that a thread loads before it visits the first
  constexpr int kStep = kThreads * N;
  const int start = int(threadIdx.x) % kThreads * N - int(row_index * width % N);
  int next = start < 0 ? start + kStep : start;
  for (; next + (kTogether - 1) * kStep + N <= width; next += kTogether * kStep) {
    float v[kTogether][N];
    COSS_UNROLL
    for (int g = 0; g < kTogether; ++g) load(row + next + g * kStep, v[g]);
    COSS_UNROLL
    for (int g = 0; g < kTogether; ++g) visit(next + g * kStep, v[g], std::true_type{});
  }
  // The rest: a group that begins before the row, then those up to its end.
  for (int i = start < 0 ? start : next; i < width; i = i < 0 ? next : i + kStep) {
    float v[N];
    if (i >= 0 && i + N <= width) {
      load(row + i, v);
    } else {
      COSS_UNROLL
      for (int k = 0; k < N; ++k) v[k] = i + k >= 0 && i + k < width ? to_float(row[i + k]) : kMinusInfinity;
    }
    visit(i, v, std::false_type{});
  }
}

// Writes such a group, without its elements outside the row.
template <int N, class T, bool kWhole>
__device__ inline void store_group(T* row, int i, int width, const float (&v)[N], std::bool_constant<kWhole>) {
  if (kWhole || (i >= 0 && i + N <= width)) {
    store(row + i, v);
  } else {
    COSS_UNROLL
    for (int k = 0; k < N; ++k)
      if (i + k >= 0 && i + k < width) row[i + k] = from_float<T>(v[k]);
  }
}

struct SoftmaxRow {
  float greatest;  // of the row, or the least finite number
  float sum;       // of exp2((x - greatest) * exponent)
};

// `skipped` is left out of both; -1 skips nothing. A thread's sum is relative to the greatest of its elements so far,
// which begins with a finite number, since -inf - (-inf) is NaN. Elements of -inf count as 0.
template <int kThreads, int N, class T>
__device__ inline SoftmaxRow softmax_row(const T* row, int64_t row_index, int width, float exponent, int skipped = -1) {
  float greatest = kLeastFinite, sum = 0;
  for_row<kThreads, N>(row, row_index, width, [&](int i, float(&x)[N], auto) {
    if (unsigned(skipped - i) < unsigned(N)) {
      COSS_UNROLL
      for (int k = 0; k < N; ++k)
        if (i + k == skipped) x[k] = kMinusInfinity;
    }
    float top = greatest;
    COSS_UNROLL
    for (int k = 0; k < N; ++k) top = fmaxf(top, x[k]);
    float group = 0;
    COSS_UNROLL
    for (int k = 0; k < N; ++k) group += exp2f((x[k] - top) * exponent);
    sum = sum * exp2f((greatest - top) * exponent) + group;
    greatest = top;
  });
  const float top = row_max<kThreads>(greatest);
  return {top, row_sum<kThreads>(sum * exp2f((greatest - top) * exponent))};
}

// Whether the tensor's address allows loads of kVector elements.
inline bool vectors_fit(const Tensor& x) { return reinterpret_cast<uintptr_t>(x.raw()) % 16 == 0; }

// body.operator()<kThreads, N>(blocks, threads) for the rows of a matrix. With a warp per row, a lane has two groups.
// With more threads, more bytes are in flight where the rows are few and wide.
template <class Body>
void for_row_threads(int64_t rows, int64_t width, bool vectors, Body&& body) {
  COSS_ASSERT(width < int64_t(1) << 30);
  const unsigned each = unsigned(rows);
  if (!vectors) return body.template operator()<kRowBlock, 1>(each, kRowBlock);
  if (width <= 512) return body.template operator()<kWarp, kVector>(blocks_for(rows, kRowsPerBlock<kWarp>), kRowBlock);
  if (width <= 8192) return body.template operator()<kRowBlock, kVector>(each, kRowBlock);
  return body.template operator()<1024, kVector>(each, 1024);
}

}  // namespace coss::cuda
