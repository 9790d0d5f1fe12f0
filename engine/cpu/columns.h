// Per-column sums over the rows of a dense (R,C) matrix: the first half of batch norm, and bias gradients.
//
// Narrow or odd matrices are read as wide ones: k rows side by side form one row of k * C columns, a multiple of the
// vector length, so a single loop serves every C and only the very end of the matrix is less than a vector.
#pragma once
#include <numeric>
#include <type_traits>

#include "engine/cpu/parallel.h"
#include "engine/cpu/scratch.h"
#include "engine/cpu/simd.h"

namespace coss::cpu {

struct WideRows {
  int64_t columns;   // of the matrix
  int64_t repeat;    // matrix rows per wide row
  int64_t width;     // repeat * columns, a multiple of 16
  int64_t rows;      // complete wide rows
  int64_t elements;  // of the matrix; those from rows * width on are the tail, less than one wide row

  WideRows(int64_t matrix_rows, int64_t matrix_columns) : columns(matrix_columns), elements(matrix_rows * columns) {
    const int64_t whole = kLanes / std::gcd(int64_t(kLanes), columns);
    repeat = whole * std::max<int64_t>(1, 64 / (whole * columns));
    width = repeat * columns;
    rows = elements / width;
  }
  // wide[r * columns + c] = values[c]
  void spread(const float* values, float* wide) const {
    for (int64_t r = 0; r < repeat; ++r) std::memcpy(wide + r * columns, values, size_t(columns) * sizeof(float));
  }
};

template <int kSums>
size_t column_sums_bytes(const WideRows& wide) {
  return size_t(threads()) *
             (Scratch::size_of<double>(kSums * wide.width) + Scratch::size_of<float>(kSums * wide.width)) +
         Scratch::size_of<double>(kSums * wide.columns);
}

// Adds the terms of the wide rows [begin, end) to block, (kSums, width).
template <int kSums, class Read>
void add_rows(const WideRows& wide, int64_t begin, int64_t end, Read& read, float* block) {
  const int64_t width = wide.width;
  if (width == 4 * kLanes) {  // the sums of narrow matrices stay in registers
    Vec totals[4][kSums] = {};
    for (int64_t row = begin; row < end; ++row) {
      for (int j = 0; j < 4; ++j) {
        Vec terms[kSums];
        read(row * width + j * kLanes, j * kLanes, Whole{}, terms);
        for (int s = 0; s < kSums; ++s) totals[j][s] += terms[s];
      }
    }
    for (int j = 0; j < 4; ++j)
      for (int s = 0; s < kSums; ++s) store(block + s * width + j * kLanes, totals[j][s]);
    return;
  }
  auto add = [&](int64_t row, auto count) {
    for (int64_t c = 0; c < width; c += kLanes) {
      Vec totals[kSums] = {};
      for (int r = 0; r < count; ++r) {
        Vec terms[kSums];
        read((row + r) * width + c, c, Whole{}, terms);
        for (int s = 0; s < kSums; ++s) totals[s] += terms[s];
      }
      for (int s = 0; s < kSums; ++s) {
        float* place = block + s * width + c;
        store(place, load(place) + totals[s]);
      }
    }
  };
  int64_t row = begin;
  for (; row + 8 <= end; row += 8) add(row, std::integral_constant<int, 8>{});
  for (; row < end; ++row) add(row, std::integral_constant<int, 1>{});
}

// Computes for each of kSums quantities the sums over all rows, (kSums, columns) in double. read(i, c, n, terms) sets
// terms[0..kSums) for the elements i .. i+n, which stand in the wide columns c .. c+n; n is Whole or a number.
// A block of rows is added in float and then in double, which is both fast and exact enough.
template <int kSums, class Read>
const double* column_sums(Scratch& scratch, const WideRows& wide, int parts, Read&& read) {
  constexpr int64_t kBlock = 128;
  const int64_t width = wide.width;
  double* totals = scratch.take<double>(kSums * wide.columns);
  double* sums = scratch.take<double>(parts * kSums * width);
  float* blocks = scratch.take<float>(parts * kSums * width);
  std::fill_n(sums, parts * kSums * width, 0.0);

  parallel_parts(wide.rows, 1, parts, [&](int part, int64_t begin, int64_t end) {
    double* sum = sums + part * kSums * width;
    float* block = blocks + part * kSums * width;
    for (int64_t first = begin; first < end; first += kBlock) {
      std::fill_n(block, kSums * width, 0.0f);
      add_rows<kSums>(wide, first, std::min(first + kBlock, end), read, block);
      for (int64_t i = 0; i < kSums * width; ++i) sum[i] += double(block[i]);
    }
  });

  const int64_t tail = wide.rows * width;
  for_vectors(0, wide.elements - tail, [&](int64_t c, auto n) {
    Vec a[kSums];
    read(tail + c, c, n, a);
    for (int s = 0; s < kSums; ++s)
      for (int64_t i = 0; i < n; ++i) sums[s * width + c + i] += double(a[s][i]);
  });
  for (int s = 0; s < kSums; ++s) {
    for (int64_t c = 0; c < wide.columns; ++c) {
      double total = 0;
      for (int part = 0; part < parts; ++part)
        for (int64_t r = 0; r < wide.repeat; ++r) total += sums[(part * kSums + s) * width + r * wide.columns + c];
      totals[s * wide.columns + c] = total;
    }
  }
  return totals;
}

}  // namespace coss::cpu
