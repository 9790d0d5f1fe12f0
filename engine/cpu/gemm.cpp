// Matrix product through oneDNN's matmul: transposes are strides, bias and activation are fused, beta is a post-op.
#include "engine/cpu/onednn.h"
#include "engine/kernels.h"

namespace coss::cpu {

void matmul(Context& ctx, const MatmulParams& p, const Tensor& a, const Tensor& b, const Tensor& bias, Tensor& y) {
  const int64_t rows = y.shape().rows(), columns = y.shape().back();
  const int64_t depth = p.transpose_a ? a.shape().rows() : a.shape().back();
  COSS_ASSERT(a.dtype() == b.dtype() && (y.dtype() == a.dtype() || y.dtype() == DType::f32));
  COSS_ASSERT(a.numel() == rows * depth && b.numel() == depth * columns);
  COSS_ASSERT(bias.empty() || (bias.dtype() == DType::f32 && bias.numel() == columns));
  COSS_ASSERT(p.beta == 0 || (p.beta == 1 && p.activation == Activation::none));

  State& state = ctx.state<State>();
  const PlanKey key(PlanKind::matmul, {rows, columns, depth, p.transpose_a, p.transpose_b, p.beta != 0,
                                       int64_t(p.activation), !bias.empty(), int64_t(a.dtype()), int64_t(y.dtype())});
  Plan& plan = state.plan(key, "matmul", [&](Plan& fresh) {
    auto matrix = [](int64_t height, int64_t width, bool transpose, DType dtype) {
      return Desc({height, width}, dnnl_type(dtype), transpose ? Dims{1, height} : Dims{width, 1});
    };
    const Desc a_desc = matrix(rows, depth, p.transpose_a, a.dtype());
    const Desc b_desc = matrix(depth, columns, p.transpose_b, b.dtype());
    const Desc y_desc = matrix(rows, columns, false, y.dtype());
    const Desc bias_desc = bias.empty() ? Desc() : matrix(1, columns, false, DType::f32);
    dnnl::post_ops post;
    if (p.beta != 0) post.append_sum(p.beta);
    append_activation(post, p.activation);
    fresh.primitive = Primitive(matmul_desc(a_desc, b_desc, bias_desc, y_desc, dnnl_attributes(post)));
    fresh.primitive.add(DNNL_ARG_SRC, a_desc).add(DNNL_ARG_WEIGHTS, b_desc).add(DNNL_ARG_DST, y_desc);
    if (!bias.empty()) fresh.primitive.add(DNNL_ARG_BIAS, bias_desc);
  });
  if (!bias.empty()) plan.primitive.set(DNNL_ARG_BIAS, bias.raw());
  plan.primitive.set(DNNL_ARG_SRC, a.raw()).set(DNNL_ARG_WEIGHTS, b.raw()).set(DNNL_ARG_DST, y.mutable_raw());
  plan.primitive.run(ctx.workspace(plan.primitive.scratch_bytes()));
}

}  // namespace coss::cpu
