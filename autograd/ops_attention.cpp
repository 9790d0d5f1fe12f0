// Layer norm and multi-head attention.
#include "autograd/graph.h"
#include "autograd/ops.h"

namespace coss {

Var layer_norm(float eps, const Var& x, const Var& gamma, const Var& beta) {
  const int64_t width = x.shape().back();
  const DType wide = accumulator_of(x.value.dtype());
  for (const Var* v : {&gamma, &beta})
    COSS_CHECK(v->shape() == Shape{width} && v->value.dtype() == wide,
               "[layer_norm] input " + x.shape().str() + ": scale and shift must be " + name_of(wide) + " (" +
                   std::to_string(width) + "), one is " + name_of(v->value.dtype()) + " " + v->shape().str());
  Context& ctx = context(x.value.device());
  const int64_t rows = x.shape().rows();
  Tensor mean({rows}, wide, ctx.device()), rstd({rows}, wide, ctx.device());
  Var y = make_output(Tensor(x.shape(), x.value.dtype(), ctx.device()), {&x, &gamma, &beta});
  kernels(x.value).layer_norm_forward(ctx, eps, x.value, gamma.value, beta.value, y.value, mean, rstd);
  note(node::LayerNorm{eps}, {x.value, gamma.value, beta.value}, y.value);
  if (y.grad)
    Tape::active()->record(y, [x, gamma, beta, mean, rstd](Tensor dy) {
      Tensor dx = dy.unique() ? dy : Tensor(dy.shape(), dy.dtype(), dy.device());
      Tensor dgamma = begin_sum(gamma), dbeta = begin_sum(beta);
      kernels(dy).layer_norm_backward(context(dy.device()), x.value, gamma.value, mean, rstd, dy, dx, dgamma, dbeta);
      dy = Tensor();
      end_sum(gamma, dgamma);
      end_sum(beta, dbeta);
      accumulate(x, dx);
    });
  return y;
}

Var attention(const AttentionParams& p, const Var& qkv) {
  const Shape shape = qkv.shape();
  COSS_CHECK(shape.rank == 3 && p.heads > 0 && shape[2] % (3 * p.heads) == 0,
             "[attention] input " + shape.str() + " is not (images, tokens, 3 * width) of " + std::to_string(p.heads) +
                 " heads");
  COSS_CHECK(p.queries >= 0 && p.queries <= shape[1],
             "[attention] " + std::to_string(p.queries) + " of " + std::to_string(shape[1]) + " tokens cannot ask");
  const int64_t queries = p.queries ? p.queries : shape[1];
  const DType dtype = qkv.value.dtype();
  Context& ctx = context(qkv.value.device());
  Tensor lse({shape[0], p.heads, queries}, accumulator_of(dtype), ctx.device());
  Var y = make_output(Tensor({shape[0], queries, shape[2] / 3}, dtype, ctx.device()), {&qkv});
  kernels(qkv.value).attention_forward(ctx, p, qkv.value, y.value, lse);
  note(node::Attention{p}, {qkv.value}, y.value);
  if (y.grad)
    Tape::active()->record(y, [p, qkv, y_value = y.value, lse](const Tensor& dy) {
      Tensor dqkv(qkv.shape(), dy.dtype(), dy.device());
      kernels(dy).attention_backward(context(dy.device()), p, qkv.value, y_value, lse, dy, dqkv);
      accumulate(qkv, dqkv);
    });
  return y;
}

}  // namespace coss
