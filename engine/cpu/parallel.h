// How the CPU kernels share work among threads: contiguous ranges, the same for the same number of threads, so that
// results do not depend on timing.
#pragma once
#include <omp.h>

#include <algorithm>
#include <cstdint>

#include "engine/context.h"

namespace coss::cpu {

// Below this many bytes of memory traffic a second thread costs more than it brings.
constexpr int64_t kSerialBytes = 64 << 10;

struct Range {
  int64_t begin, end;
  bool operator==(const Range&) const = default;
};

// Part `index` of `parts` of [0, n), cut at multiples of `step`.
inline Range part_of(int64_t n, int64_t step, int64_t index, int64_t parts) {
  const int64_t steps = (n + step - 1) / step;
  return {std::min(n, steps * index / parts * step), std::min(n, steps * (index + 1) / parts * step)};
}

inline int threads_for(int64_t bytes) { return bytes < kSerialBytes || omp_in_parallel() ? 1 : threads(); }

// body(thread, begin, end) on `parts` ranges that cover [0, n). body must not throw.
template <class Body>
void parallel_parts(int64_t n, int64_t step, int parts, Body&& body) {
  if (parts <= 1) {
    body(0, int64_t(0), n);
    return;
  }
#pragma omp parallel for num_threads(parts) schedule(static, 1)
  for (int index = 0; index < parts; ++index) {
    const Range range = part_of(n, step, index, parts);
    if (range.begin < range.end) body(index, range.begin, range.end);
  }
}

// body(begin, end) where each of the n items moves `bytes` of memory.
template <class Body>
void parallel_ranges(int64_t n, int64_t step, int64_t bytes, Body&& body) {
  parallel_parts(n, step, threads_for(n * bytes), [&](int, int64_t begin, int64_t end) { body(begin, end); });
}

}  // namespace coss::cpu
