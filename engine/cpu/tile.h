// Vector functions for attention: small matrix products with operands in the caches, transposition, and sums and maxima
// over lanes.
#pragma once
#include <utility>

#include "engine/cpu/simd.h"

namespace coss::cpu {

constexpr int64_t kTileRows = 6;  // with kTileVectors: as many sums as registers hold
constexpr int64_t kTileVectors = 4;

// *p in every lane, straight from memory: broadcast() would have to add it to zero first, because of -0.
inline Vec load_everywhere(const float* p) {
  const float v = *p;
  return Vec{v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v};
}

constexpr int64_t rounded_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

// c (kTileRows, kCount vectors) = a b, or c + a b. Element (i,k) of a is a[i * a_row + k * a_column].
template <int kCount, bool kTransposed>
void multiply_tile(int64_t depth, const float* a, int64_t a_stride, const float* b, int64_t b_stride, float* c,
                   int64_t c_stride, bool add) {
  constexpr int kRows = int(kTileRows);
  Vec sums[kRows][kCount] = {};
  if (add) {
    for (int i = 0; i < kRows; ++i)
      for (int j = 0; j < kCount; ++j) sums[i][j] = load(c + i * c_stride + j * kLanes);
  }
  for (int64_t k = 0; k < depth; ++k) {
    Vec right[kCount];
    for (int j = 0; j < kCount; ++j) right[j] = load(b + k * b_stride + j * kLanes);
    for (int i = 0; i < kRows; ++i) {
      const Vec left = load_everywhere(a + (kTransposed ? k * a_stride + i : i * a_stride + k));
      for (int j = 0; j < kCount; ++j) sums[i][j] += left * right[j];
    }
  }
  for (int i = 0; i < kRows; ++i)
    for (int j = 0; j < kCount; ++j) store(c + i * c_stride + j * kLanes, sums[i][j]);
}

// c (rows, vectors * 16) = a b, or c + a b where `add`; rows is a multiple of kTileRows. a (rows, depth), or,
// transposed, (depth, rows); b (depth, vectors * 16); strides are those between rows as they lie in memory.
template <bool kTransposed = false>
void multiply(int64_t rows, int64_t vectors, int64_t depth, const float* a, int64_t a_stride, const float* b,
              int64_t b_stride, float* c, int64_t c_stride, bool add) {
  const int64_t panels = (vectors + kTileVectors - 1) / kTileVectors;
  for (int64_t panel = 0; panel < panels; ++panel) {
    const int64_t first = vectors * panel / panels, count = vectors * (panel + 1) / panels - first;
    for (int64_t i = 0; i < rows; i += kTileRows) {
      const float* left = a + (kTransposed ? i : i * a_stride);
      auto tile = [&]<int kCount>(std::integral_constant<int, kCount>) {
        multiply_tile<kCount, kTransposed>(depth, left, a_stride, b + first * kLanes, b_stride,
                                           c + i * c_stride + first * kLanes, c_stride, add);
      };
      switch (count) {
        case 1:
          tile(std::integral_constant<int, 1>{});
          break;
        case 2:
          tile(std::integral_constant<int, 2>{});
          break;
        case 3:
          tile(std::integral_constant<int, 3>{});
          break;
        default:
          tile(std::integral_constant<int, 4>{});
      }
    }
  }
}

// Lane i of the result is lane i ^ kStep of v.
template <int kStep, int... kLane>
Vec exchanged(Vec v, std::integer_sequence<int, kLane...>) {
  return __builtin_shufflevector(v, v, (kLane ^ kStep)...);
}

// The sum of all lanes in every lane; likewise the maximum, for lanes without NaN.
inline Vec sum_everywhere(Vec v) {
  constexpr auto lanes = std::make_integer_sequence<int, kLanes>{};
  v += exchanged<8>(v, lanes);
  v += exchanged<4>(v, lanes);
  v += exchanged<2>(v, lanes);
  return v + exchanged<1>(v, lanes);
}
inline Vec max_everywhere(Vec v) {
  constexpr auto lanes = std::make_integer_sequence<int, kLanes>{};
  v = larger(v, exchanged<8>(v, lanes));
  v = larger(v, exchanged<4>(v, lanes));
  v = larger(v, exchanged<2>(v, lanes));
  return larger(v, exchanged<1>(v, lanes));
}

// Exchanges the off-diagonal squares of kStep x kStep of each pair of rows.
template <int kStep, int... kLane>
void exchange_squares(Vec (&rows)[kLanes], std::integer_sequence<int, kLane...>) {
  for (int i = 0; i < kLanes; ++i) {
    if (i & kStep) continue;
    const Vec a = rows[i], b = rows[i + kStep];
    rows[i] = __builtin_shufflevector(a, b, (kLane & kStep ? kLane - kStep + kLanes : kLane)...);
    rows[i + kStep] = __builtin_shufflevector(a, b, (kLane & kStep ? kLane + kLanes : kLane + kStep)...);
  }
}
inline void transpose(Vec (&rows)[kLanes]) {
  constexpr auto lanes = std::make_integer_sequence<int, kLanes>{};
  exchange_squares<8>(rows, lanes);
  exchange_squares<4>(rows, lanes);
  exchange_squares<2>(rows, lanes);
  exchange_squares<1>(rows, lanes);
}

// 2^v for v <= 127; below -126 the result is zero or nearly zero. NaN stays.
inline Vec exp2(Vec v) {
  const Vec magic = broadcast(0x1.8p23f);  // adding it rounds to an integer
  const Vec clamped = larger(broadcast(-126.0f), v);
  const Vec shifted = clamped + magic, n = shifted - magic, r = clamped - n;  // |r| <= 1/2
  Vec p = broadcast(1.54035304e-4f);                                          // (ln 2)^k / k!
  p = p * r + 1.33335581e-3f;
  p = p * r + 9.61812911e-3f;
  p = p * r + 5.55041087e-2f;
  p = p * r + 2.40226507e-1f;
  p = p * r + 6.93147181e-1f;
  p = p * r + 1.0f;
  const VecI exponent = ((VecI)shifted - std::bit_cast<int32_t>(0x1.8p23f)) << 23;
  // Where v is NaN p is too, and multiplication keeps it so.
  return p * (Vec)(exponent + std::bit_cast<int32_t>(1.0f));
}

}  // namespace coss::cpu
