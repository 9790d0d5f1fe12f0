// bf16 without bf16 instructions: oneDNN computes convolutions and products of bf16 only from AVX-512 on. Elsewhere
// they are computed in fp32, with the same contract: bf16 in, sums in fp32, bf16 out, rounded once. Weights are widened
// once per version; activations in blocks that stay in the caches, so that memory does not grow with the batch.
#pragma once
#include <algorithm>

#include "engine/context.h"
#include "engine/tensor.h"

namespace coss::cpu {

// Whether the library computes in `dtype` on this processor. DNNL_MAX_CPU_ISA counts as the processor.
bool library_computes(DType dtype);
// Whether there are dot-product instructions of bf16, which make it faster than fp32.
bool has_bf16_dot_product();

// An fp32 tensor of this shape in memory that the backend keeps for this part; valid until the next call for the same
// part.
enum class WidePart : uint8_t { x, w, y };
Tensor wide_tensor(Context& ctx, WidePart part, const Shape& shape);
// The same tensor, filled with the values of `x`.
Tensor widened(Context& ctx, WidePart part, const Tensor& x);
// Rounds `wide` into y.
void narrow(Context& ctx, const Tensor& wide, Tensor& y);

// All dimensions but the last as rows.
inline Tensor as_matrix(const Tensor& x) { return x.reshape({x.shape().rows(), x.shape().back()}); }

// `count` leading rows of a tensor, from row `first` on.
inline Tensor rows_of(const Tensor& x, int64_t first, int64_t count) {
  Shape shape = x.shape();
  const int64_t row = x.numel() / std::max<int64_t>(shape[0], 1);
  shape.dims[0] = count;
  return x.view(first * row, shape);
}

// The number of rows in a block, of `rows` in all. A row takes `row_values` fp32 values in all tensors together, and
// each block also reads `fixed_values` (a weight gradient). The result depends on the number of threads only.
int64_t rows_per_block(int64_t rows, int64_t row_values, int64_t fixed_values = 0);

// Calls body(first, count) for blocks of `rows`, and once with no rows where there are none, so that a result is
// written.
template <class Body>
void for_blocks(int64_t rows, int64_t block, Body&& body) {
  int64_t first = 0;
  do {
    body(first, std::min(block, rows - first));
    first += block;
  } while (first < rows);
}

}  // namespace coss::cpu
