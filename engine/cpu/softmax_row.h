// The two sums over a row that softmax, its logarithm and the cross-entropy share.
#pragma once
#include <limits>

#include "engine/cpu/simd.h"

namespace coss::cpu {

struct SoftmaxRow {
  float greatest;  // of the row
  double sum;      // of exp((x - greatest) * inverse_temperature)
};

template <class T>
SoftmaxRow softmax_row(const T* row, int64_t count, float inverse_temperature) {
  Vec greatest = broadcast(-std::numeric_limits<float>::infinity());
  for_vectors(0, count, [&](int64_t i, auto n) {
    greatest = select(first_lanes(n), at_least(greatest, get(row + i, n)), greatest);
  });
  const float top = max(greatest);
  Vec total{};
  for_vectors(0, count, [&](int64_t i, auto n) {
    total += keep(first_lanes(n), exp((get(row + i, n) - top) * inverse_temperature));
  });
  return {top, sum(total)};
}

}  // namespace coss::cpu
