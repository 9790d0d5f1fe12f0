// Matrix product through cuBLASLt. The library fuses the activation and the bias where it can; one small kernel
// (matmul_epilogue.cu) does the rest. The CPU backend does the same with oneDNN.
#include <algorithm>

#include "engine/cuda/library/blas.h"
#include "engine/cuda/library/matmul_epilogue.h"
#include "engine/cuda/library/state.h"
#include "engine/kernels.h"

namespace coss::cuda {
namespace {

cudaDataType_t type_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return CUDA_R_32F;
    case DType::bf16:
      return CUDA_R_16BF;
    case DType::f16:
      return CUDA_R_16F;
    default:
      throw Error(std::string("[matmul] computes in f32, bf16 or f16, not ") + name_of(dtype));
  }
}

int64_t alignment_of(const void* p) {
  const auto address = reinterpret_cast<uintptr_t>(p) | 256u;
  return int64_t(address & ~(address - 1));
}

cublasLtEpilogue_t fused_epilogue(bool bias, bool relu) {
  if (bias) return relu ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_BIAS;
  return relu ? CUBLASLT_EPILOGUE_RELU : CUBLASLT_EPILOGUE_DEFAULT;
}

}  // namespace

void matmul(Context& ctx, const MatmulParams& p, const Tensor& a, const Tensor& b, const Tensor& bias, Tensor& y) {
  if (y.numel() == 0) return;
  const int64_t rows = y.shape().rows(), columns = y.shape().back();
  const int64_t depth = p.transpose_a ? a.shape().rows() : a.shape().back();
  COSS_ASSERT(a.dtype() == b.dtype() && (y.dtype() == a.dtype() || y.dtype() == DType::f32));
  COSS_ASSERT(a.numel() == rows * depth && b.numel() == depth * columns && depth > 0);
  COSS_ASSERT(bias.empty() || (bias.dtype() == DType::f32 && bias.numel() == columns));
  COSS_ASSERT(p.beta == 0 || (p.beta == 1 && p.activation == Activation::none));

  Blas& blas = ctx.state<State>().blas();
  const float* bias_data = bias.empty() ? nullptr : bias.data<float>();
  void* out = y.mutable_raw();
  // A 16-bit output with a bias goes through an f32 product, so that it is rounded once.
  const bool through_f32 = bias_data && y.dtype() != DType::f32;
  char* workspace =
      static_cast<char*>(ctx.workspace(Blas::kWorkspace + (through_f32 ? size_t(y.numel()) * sizeof(float) : 0)));
  float* wide = through_f32 ? reinterpret_cast<float*>(workspace + Blas::kWorkspace) : nullptr;

  Product product;
  product.rows = rows;
  product.columns = columns;
  product.depth = depth;
  product.transpose_a = p.transpose_a;
  product.transpose_b = p.transpose_b;
  product.input = type_of(a.dtype());
  product.output = type_of(through_f32 ? DType::f32 : y.dtype());
  product.tf32 = a.dtype() == DType::f32 && ctx.allow_tf32();
  product.align_a = alignment_of(a.raw());
  product.align_b = alignment_of(b.raw());
  product.align_y = alignment_of(through_f32 ? wide : out);
  // The library fuses no activation but relu (its GELU is the one with tanh), and a bias only where 16-byte loads of it
  // are possible.
  const bool fuse = !through_f32 && (!bias_data || alignment_of(bias_data) >= 16);
  bool bias_done = !bias_data, activation_done = p.activation == Activation::none;
  if (fuse) {
    product.epilogue = fused_epilogue(bias_data, p.activation == Activation::relu);
    if (blas.supports(product)) {
      bias_done = true;
      activation_done = activation_done || p.activation == Activation::relu;
    } else {
      product.epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    }
  }
  COSS_CHECK(blas.supports(product), "[matmul] cuBLAS has no algorithm for " + std::to_string(rows) + " x " +
                                         std::to_string(depth) + " times " + std::to_string(depth) + " x " +
                                         std::to_string(columns) + " in " + name_of(a.dtype()));
  const bool fused_bias = bias_data && bias_done;
  blas.run(product, a.raw(), b.raw(), fused_bias ? bias_data : nullptr, through_f32 ? 0 : p.beta,
           through_f32 ? wide : out, workspace);
  if (bias_done && activation_done) return;
  matmul_epilogue(ctx, p.activation, through_f32 ? p.beta : 0, wide, bias_done ? Tensor() : bias, y);
}

}  // namespace coss::cuda
