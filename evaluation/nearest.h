// What a search for nearest rows by cosine begins with.
#pragma once
#include <limits>
#include <vector>

#include "engine/kernels.h"

namespace coss {

// Rows of features (rows,width) on the device, each of unit length.
inline Tensor unit_length_rows(const std::vector<float>& values, int64_t rows, int64_t width, Device device) {
  const Tensor raw = Tensor::from(values, {rows, width}, device);
  Tensor unit(raw.shape(), DType::f32, device);
  kernels(device).normalize_rows(context(device), kSmallestNorm, raw, unit);
  return unit;
}

// The k best of each query so far, (queries,k) each, as the kernel topk_inner keeps them: none.
struct Nearest {
  Tensor values, indices;

  Nearest(int64_t queries, int64_t k, Device device)
      : values({queries, k}, DType::f32, device), indices({queries, k}, DType::i32, device) {
    kernels(device).fill(context(device), -std::numeric_limits<double>::infinity(), values);
    kernels(device).fill(context(device), -1, indices);
  }
};

}  // namespace coss
