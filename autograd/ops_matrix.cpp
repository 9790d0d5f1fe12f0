// Matrices in losses: products of rows with rows, rows of unit length, softmax, centering, transposition, parts and
// stacks of rows, and cross-entropy, whose kernel computes the gradient in the same pass as the value.
#include "autograd/graph.h"
#include "autograd/ops.h"

namespace coss {

namespace {

void check_matrix(const char* op, const Var& x) {
  COSS_CHECK(x.shape().rank == 2, std::string("[") + op + "] input must be (rows, columns), found " + x.shape().str());
}

// A new tensor of `shape`, filled by call(kernels, context, tensor).
template <class Call>
Tensor made(const Tensor& x, const Shape& shape, const Call& call) {
  Tensor y(shape, x.dtype(), x.device());
  call(kernels(x), context(x.device()), y);
  return y;
}

Tensor multiplied(const MatmulParams& p, const Tensor& a, const Tensor& b, const Shape& shape) {
  return made(a, shape, [&](const Kernels& k, Context& ctx, Tensor& y) { k.matmul(ctx, p, a, b, {}, y); });
}

Tensor transposed(const Tensor& x) {
  return made(x, {x.shape()[1], x.shape()[0]},
              [&](const Kernels& k, Context& ctx, Tensor& y) { k.transpose(ctx, x, y); });
}

}  // namespace

Var reshape(const Var& x, const Shape& shape) {
  COSS_CHECK(shape.numel() == x.shape().numel(), "[reshape] " + x.shape().str() + " cannot become " + shape.str());
  Var y = make_output(x.value.reshape(shape), {&x});
  if (y.grad)
    Tape::active()->record(y,
                           [x = grad_only(x), from = x.shape()](const Tensor& dy) { accumulate(x, dy.reshape(from)); });
  return y;
}

Var rows_of(const Var& x, int64_t first, int64_t count) {
  COSS_CHECK(
      first >= 0 && count > 0 && first + count <= x.shape()[0],
      "[rows_of] rows " + std::to_string(first) + " to " + std::to_string(first + count) + " of " + x.shape().str());
  const int64_t width = x.shape().numel() / x.shape()[0];
  Shape shape = x.shape();
  shape.dims[0] = count;
  Var y = make_output(x.value.view(first * width, shape), {&x});
  if (y.grad)
    Tape::active()->record(y, [x = grad_only(x), from = x.shape(), first, width](const Tensor& dy) {
      Tensor dx(from, dy.dtype(), dy.device());
      const Kernels& k = kernels(dy);
      Context& ctx = context(dy.device());
      k.fill(ctx, 0, dx);
      Tensor part = dx.view(first * width, dy.shape());
      k.cast(ctx, dy, part);
      accumulate(x, dx);
    });
  return y;
}

Var stack_rows(const Var& a, const Var& b) {
  check_matrix("stack_rows", a);
  COSS_CHECK(b.shape().rank == 2 && a.shape()[1] == b.shape()[1] && a.value.dtype() == b.value.dtype(),
             "[stack_rows] " + a.shape().str() + " and " + b.shape().str() + " do not fit");
  const int64_t of_a = a.shape()[0], of_b = b.shape()[0];
  Tensor stack = made(a.value, {of_a + of_b, a.shape()[1]}, [&](const Kernels& k, Context& ctx, Tensor& y) {
    Tensor upper = y.view(0, a.shape()), lower = y.view(a.value.numel(), b.shape());
    k.cast(ctx, a.value, upper);
    k.cast(ctx, b.value, lower);
  });
  Var y = make_output(stack, {&a, &b});
  if (y.grad)
    Tape::active()->record(y, [a = grad_only(a), b = grad_only(b), at_a = a.shape(), at_b = b.shape()](Tensor dy) {
      accumulate(a, dy.view(0, at_a));
      accumulate(b, dy.view(at_a.numel(), at_b));
    });
  return y;
}

Var product(const Var& a, const Var& b) {
  check_matrix("product", a);
  COSS_CHECK(b.shape().rank == 2 && a.shape()[1] == b.shape()[1] && a.value.dtype() == b.value.dtype(),
             "[product] " + a.shape().str() + " and " + b.shape().str() + " do not fit");
  Var y = make_output(multiplied({.transpose_b = true}, a.value, b.value, {a.shape()[0], b.shape()[0]}), {&a, &b});
  if (y.grad)
    Tape::active()->record(y, [a, b](const Tensor& dy) {
      if (a.grad) accumulate(a, multiplied({}, dy, b.value, a.shape()));
      if (b.grad) accumulate(b, multiplied({.transpose_a = true}, dy, a.value, b.shape()));
    });
  return y;
}

// d(x x^T) = dx x^T + x dx^T, so dx = (dy + dy^T) x: one product.
Var gram(const Var& x) {
  check_matrix("gram", x);
  Var y = make_output(multiplied({.transpose_b = true}, x.value, x.value, {x.shape()[0], x.shape()[0]}), {&x});
  if (y.grad)
    Tape::active()->record(y, [x](const Tensor& dy) {
      Tensor both = transposed(dy);
      kernels(dy).add(context(dy.device()), dy, both, both);
      accumulate(x, multiplied({}, both, x.value, x.shape()));
    });
  return y;
}

Var softmax(float temperature, const Var& x) {
  check_matrix("softmax", x);
  Var y =
      make_output(made(x.value, x.shape(),
                       [&](const Kernels& k, Context& ctx, Tensor& out) { k.softmax(ctx, temperature, x.value, out); }),
                  {&x});
  if (y.grad)
    Tape::active()->record(y, [temperature, x = grad_only(x), of = y.value](const Tensor& dy) {
      accumulate(x, made(dy, dy.shape(), [&](const Kernels& k, Context& ctx, Tensor& dx) {
                   k.softmax_backward(ctx, temperature, of, dy, dx);
                 }));
    });
  return y;
}

Var center_rows(const Var& x) {
  check_matrix("center_rows", x);
  const auto centered = [](const Tensor& of) {
    return made(of, of.shape(), [&](const Kernels& k, Context& ctx, Tensor& out) { k.center_rows(ctx, of, out); });
  };
  Var y = make_output(centered(x.value), {&x});
  if (y.grad)
    Tape::active()->record(y, [centered, x = grad_only(x)](const Tensor& dy) { accumulate(x, centered(dy)); });
  return y;
}

Var transpose(const Var& x) {
  check_matrix("transpose", x);
  Var y = make_output(transposed(x.value), {&x});
  if (y.grad) Tape::active()->record(y, [x = grad_only(x)](const Tensor& dy) { accumulate(x, transposed(dy)); });
  return y;
}

Var normalize_rows(float eps, const Var& x) {
  COSS_CHECK(eps > 0, "[normalize_rows] the smallest norm must be positive");
  Context& ctx = context(x.value.device());
  Var y = make_output(Tensor(x.shape(), x.value.dtype(), ctx.device()), {&x});
  kernels(x.value).normalize_rows(ctx, eps, x.value, y.value);
  note(node::NormalizeRows{eps}, {x.value}, y.value);
  if (y.grad)
    Tape::active()->record(y, [eps, x](const Tensor& dy) {
      Tensor dx(dy.shape(), dy.dtype(), dy.device());
      kernels(dy).normalize_rows_backward(context(dy.device()), eps, x.value, dy, dx);
      accumulate(x, dx);
    });
  return y;
}

Var cross_entropy(const Var& logits, const Tensor& labels) {
  COSS_CHECK(logits.shape().rank == 2, "[cross_entropy] logits " + logits.shape().str() + " are not (N,classes)");
  COSS_CHECK(labels.dtype() == DType::i32 && labels.shape() == Shape{logits.shape()[0]},
             "[cross_entropy] " + std::to_string(logits.shape()[0]) + " rows of logits need as many i32 labels, not " +
                 name_of(labels.dtype()) + " " + labels.shape().str());
  const DType dtype = logits.value.dtype();
  Context& ctx = context(logits.value.device());
  Var loss = make_output(Tensor({1}, accumulator_of(dtype), ctx.device()), {&logits});
  Tensor dlogits(logits.shape(), dtype, ctx.device());
  kernels(labels).cross_entropy(ctx, logits.value, labels, loss.value, dlogits);
  if (loss.grad) Tape::active()->record(loss, scaled_gradient(logits, dlogits));
  return loss;
}

}  // namespace coss
