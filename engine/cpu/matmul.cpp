// Matrix product through oneDNN's matmul: transposes are strides, bias and activation are fused, beta is a post-op.
#include "engine/cpu/library/onednn.h"
#include "engine/cpu/library/widen.h"
#include "engine/kernels.h"

namespace coss::cpu {

namespace {

// The product in fp32, in blocks of a's rows. A block of a's rows gives rows of y. Where a is transposed, it meets rows
// of b, and the blocks are summed.
void wide_matmul(Context& ctx, const MatmulParams& p, const Tensor& a, const Tensor& b, const Tensor& bias, Tensor& y) {
  const Tensor left = as_matrix(a), right = as_matrix(b);
  Tensor result = as_matrix(y);
  const int64_t rows = left.shape()[0], values = left.shape()[1] + result.shape()[1];
  // y itself where it is fp32, else an fp32 copy of it, which starts with y's values where the product is added to
  // them.
  const auto wide_of = [&](const Tensor& part) {
    if (part.dtype() == DType::f32) return part;
    return p.beta != 0 ? widened(ctx, WidePart::y, part) : wide_tensor(ctx, WidePart::y, part.shape());
  };
  const auto finish = [&](const Tensor& wide, Tensor& part) {
    if (part.dtype() != DType::f32) narrow(ctx, wide, part);
  };
  if (!p.transpose_a) {
    const Tensor factor = widened(ctx, WidePart::w, right);
    return for_blocks(rows, rows_per_block(rows, values), [&](int64_t first, int64_t count) {
      Tensor part = rows_of(result, first, count), wide = wide_of(part);
      matmul(ctx, p, widened(ctx, WidePart::x, rows_of(left, first, count)), factor, bias, wide);
      finish(wide, part);
    });
  }
  Tensor sum = wide_of(result);
  // An activation needs the whole sum, and a transposed b cannot be cut by rows.
  const bool one_block = p.transpose_b || p.activation != Activation::none;
  MatmulParams step = p;
  for_blocks(rows, one_block ? rows : rows_per_block(rows, values, sum.numel()), [&](int64_t first, int64_t count) {
    const Tensor part = widened(ctx, WidePart::x, rows_of(left, first, count));
    const Tensor factor = widened(ctx, WidePart::w, one_block ? right : rows_of(right, first, count));
    matmul(ctx, step, part, factor, first == 0 ? bias : Tensor(), sum);
    step.beta = 1;
  });
  finish(sum, result);
}

}  // namespace

void matmul(Context& ctx, const MatmulParams& p, const Tensor& a, const Tensor& b, const Tensor& bias, Tensor& y) {
  const int64_t rows = y.shape().rows(), columns = y.shape().back();
  const int64_t depth = p.transpose_a ? a.shape().rows() : a.shape().back();
  COSS_ASSERT(a.dtype() == b.dtype() && (y.dtype() == a.dtype() || y.dtype() == DType::f32));
  COSS_ASSERT(a.numel() == rows * depth && b.numel() == depth * columns);
  COSS_ASSERT(bias.empty() || (bias.dtype() == DType::f32 && bias.numel() == columns));
  COSS_ASSERT(p.beta == 0 || (p.beta == 1 && p.activation == Activation::none));

  if (!library_computes(a.dtype())) return wide_matmul(ctx, p, a, b, bias, y);

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
  if (ctx.plans_only()) return;
  if (!bias.empty()) plan.primitive.set(DNNL_ARG_BIAS, bias.raw());
  plan.primitive.set(DNNL_ARG_SRC, a.raw()).set(DNNL_ARG_WEIGHTS, b.raw()).set(DNNL_ARG_DST, y.mutable_raw());
  plan.primitive.run(ctx.workspace(plan.primitive.scratch_bytes()));
}

}  // namespace coss::cpu
