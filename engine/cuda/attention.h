// The shape of an attention, and the library's fused kernels for it (attention_cudnn.cpp; the host-run build has none).
#pragma once

#include "engine/context.h"
#include "engine/kernel_params.h"
#include "engine/tensor.h"

namespace coss::cuda {

struct AttentionShape {
  int64_t images = 0, tokens = 0, queries = 0;  // queries: how many of the first tokens are queries
  int64_t heads = 0, channels = 0;              // channels of one head
  DType dtype = DType::f32;

  bool operator==(const AttentionShape&) const = default;
  int64_t width() const { return heads * channels; }
};

// These return true when the library has done the work, and false when the own kernels must do it.
bool library_attention_forward(Context& ctx, const AttentionShape& shape, const Tensor& qkv, Tensor& y, Tensor& lse);
bool library_attention_backward(Context& ctx, const AttentionShape& shape, const Tensor& qkv, const Tensor& y,
                                const Tensor& lse, const Tensor& dy, Tensor& dqkv);

}  // namespace coss::cuda
