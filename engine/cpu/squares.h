// Sums of squares. Blocks of a fixed size are added in order, so the number of threads changes no bit.
#pragma once
#include "engine/cpu/parallel.h"
#include "engine/cpu/scratch.h"
#include "engine/cpu/simd.h"

namespace coss::cpu {

template <class T>
double sum_of_squares(const T* x, int64_t count) {
  Vec lanes[4] = {};
  int64_t i = 0;
  for (; i + 4 * kLanes <= count; i += 4 * kLanes) {
    for (int j = 0; j < 4; ++j) {
      const Vec v = load(x + i + j * kLanes);
      lanes[j] += v * v;
    }
  }
  for_vectors(i, count, [&](int64_t k, auto n) {
    const Vec v = get(x + k, n);
    lanes[0] += v * v;
  });
  return sum(lanes[0]) + sum(lanes[1]) + (sum(lanes[2]) + sum(lanes[3]));
}

// The same by all threads.
template <class T>
double parallel_sum_of_squares(Context& ctx, const T* x, int64_t count) {
  constexpr int64_t kBlock = 8192;
  const int64_t blocks = (count + kBlock - 1) / kBlock;
  Scratch scratch(ctx, Scratch::size_of<double>(blocks));
  double* partial = scratch.take<double>(blocks);
  parallel_ranges(blocks, 1, kBlock * int64_t(sizeof(T)), [=](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b)
      partial[b] = sum_of_squares(x + b * kBlock, std::min(kBlock, count - b * kBlock));
  });
  double total = 0;
  for (int64_t b = 0; b < blocks; ++b) total += partial[b];
  return total;
}

}  // namespace coss::cpu
