// Operations that turn an image into a sequence of tokens, and tokens into features.
#include "autograd/graph.h"
#include "autograd/ops.h"

namespace coss {

Var patches(int64_t size, const Var& x) {
  const Shape shape = x.shape();
  COSS_CHECK(shape.rank == 4 && size > 0 && shape[1] % size == 0 && shape[2] % size == 0,
             "[patches] " + shape.str() + " cannot be cut into squares of " + std::to_string(size) + " pixels");
  Context& ctx = context(x.value.device());
  const Shape tokens{shape[0], shape[1] / size * (shape[2] / size), size * size * shape[3]};
  Var y = make_output(Tensor(tokens, x.value.dtype(), ctx.device()), {&x});
  kernels(x.value).patches_forward(ctx, size, x.value, y.value);
  note(node::Patches{size}, {x.value}, y.value);
  if (y.grad)
    Tape::active()->record(y, [size, x = grad_only(x), shape](const Tensor& dy) {
      Tensor dx(shape, dy.dtype(), dy.device());
      kernels(dy).patches_backward(context(dy.device()), size, dy, dx);
      accumulate(x, dx);
    });
  return y;
}

Var join_tokens(const Var& first, const Var& x, const Var& position) {
  const Shape shape = x.shape();
  const DType dtype = x.value.dtype(), wide = accumulator_of(dtype);
  COSS_CHECK(shape.rank == 3, "[join_tokens] input " + shape.str() + " is not (images, tokens, width)");
  const int64_t tokens = shape[1] + (first.empty() ? 0 : 1), width = shape[2];
  const bool shared = first.shape() == Shape{width};  // one token for all images, a parameter
  COSS_CHECK(first.empty() || (shared && first.value.dtype() == wide) ||
                 (first.shape() == Shape{shape[0], width} && first.value.dtype() == dtype),
             "[join_tokens] first token " + first.shape().str() + " " + name_of(first.value.dtype()) +
                 " does not fit tokens " + shape.str() + " " + name_of(dtype));
  const Shape table{tokens, width};
  COSS_CHECK(position.shape() == table && position.value.dtype() == wide,
             "[join_tokens] positions " + position.shape().str() + " must be " + table.str() + " in " + name_of(wide));
  Context& ctx = context(x.value.device());
  Var y = make_output(Tensor({shape[0], tokens, width}, dtype, ctx.device()), {&first, &x, &position});
  kernels(x.value).join_tokens_forward(ctx, first.value, x.value, position.value, y.value);
  note(node::JoinTokens{}, {first.value, x.value, position.value}, y.value);
  if (y.grad)
    Tape::active()->record(y, [first, x = grad_only(x), position, shape, shared](const Tensor& dy) {
      Tensor dx(shape, dy.dtype(), dy.device()), dfirst;
      if (first.grad) dfirst = shared ? begin_sum(first) : Tensor(first.shape(), dy.dtype(), dy.device());
      Tensor dposition = begin_sum(position);
      kernels(dy).join_tokens_backward(context(dy.device()), dy, dfirst, dx, dposition);
      if (shared)
        end_sum(first, dfirst);
      else
        accumulate(first, dfirst);
      end_sum(position, dposition);
      accumulate(x, dx);
    });
  return y;
}

Var mean_tokens(int64_t first, int64_t count, const Var& x) {
  const Shape shape = x.shape();
  COSS_CHECK(shape.rank == 3 && first >= 0 && count > 0 && first + count <= shape[1],
             "[mean_tokens] " + shape.str() + " has no " + std::to_string(count) + " tokens from token " +
                 std::to_string(first) + " on");
  Context& ctx = context(x.value.device());
  Var y = make_output(Tensor({shape[0], shape[2]}, x.value.dtype(), ctx.device()), {&x});
  kernels(x.value).mean_tokens_forward(ctx, first, count, x.value, y.value);
  note(node::MeanTokens{first, count}, {x.value}, y.value);
  if (y.grad)
    Tape::active()->record(y, [first, count, x = grad_only(x), shape](const Tensor& dy) {
      Tensor dx(shape, dy.dtype(), dy.device());
      kernels(dy).mean_tokens_backward(context(dy.device()), first, count, dy, dx);
      accumulate(x, dx);
    });
  return y;
}

}  // namespace coss
