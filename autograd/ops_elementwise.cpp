// Add, activation, dropout of elements and of whole images, scaling by a number, and f16 to f32.
#include "autograd/graph.h"
#include "autograd/ops.h"

namespace coss {

Var add(const Var& a, const Var& b) {
  COSS_CHECK(a.shape() == b.shape() && a.value.dtype() == b.value.dtype(),
             "[add] " + a.shape().str() + " and " + b.shape().str() + " differ in shape or dtype");
  Context& ctx = context(a.value.device());
  Var y = make_output(Tensor(a.shape(), a.value.dtype(), ctx.device()), {&a, &b});
  kernels(a.value).add(ctx, a.value, b.value, y.value);
  note(node::Add{}, {a.value, b.value}, y.value);
  if (y.grad)
    Tape::active()->record(y, [a = grad_only(a), b = grad_only(b)](const Tensor& dy) {
      accumulate(a, dy);
      accumulate(b, dy);
    });
  return y;
}

Var activation(Activation kind, const Var& x) {
  if (kind == Activation::none) return x;
  Context& ctx = context(x.value.device());
  Var y = make_output(Tensor(x.shape(), x.value.dtype(), ctx.device()), {&x});
  kernels(x.value).activation_forward(ctx, kind, x.value, y.value);
  note(node::Act{kind}, {x.value}, y.value);
  if (y.grad)
    // The output shows where an activation clipped, and the next operation most likely keeps it anyway.
    Tape::active()->record(y, [kind, x = grad_only(x), kept = clips(kind) ? y.value : x.value](Tensor dy) {
      Tensor dx = dy.unique() ? dy : Tensor(dy.shape(), dy.dtype(), dy.device());
      kernels(dy).activation_backward(context(dy.device()), kind, kept, dy, dx);
      dy = Tensor();
      accumulate(x, dx);
    });
  return y;
}

Var dropout(const DropoutParams& p, const Tensor& step, const Var& x) {
  COSS_CHECK(p.rate >= 0 && p.rate < 1, "[dropout] the rate must be in [0, 1), not " + std::to_string(p.rate));
  if (p.rate == 0) return x;
  COSS_CHECK(!step.empty() && step.shape() == Shape{1} && step.dtype() == DType::i64,
             "[dropout] needs the number of the step as i64 (1) to draw its mask");
  Context& ctx = context(x.value.device());
  Var y = make_output(Tensor(x.shape(), x.value.dtype(), ctx.device()), {&x});
  kernels(x.value).dropout_forward(ctx, p, step, x.value, y.value);
  if (y.grad)
    Tape::active()->record(y, [p, step, x = grad_only(x)](const Tensor& dy) {
      Tensor dx(dy.shape(), dy.dtype(), dy.device());
      kernels(dy).dropout_backward(context(dy.device()), p, step, dy, dx);
      accumulate(x, dx);
    });
  return y;
}

Var drop_path(DropoutParams p, const Tensor& step, const Var& x) {
  if (x.shape()[0] > 0) p.group = x.shape().numel() / x.shape()[0];
  return dropout(p, step, x);
}

Var scale(const Var& x, float factor) {
  auto scaled = [factor](const Tensor& from) {
    Tensor to(from.shape(), from.dtype(), from.device());
    Context& ctx = context(from.device());
    kernels(from).fill(ctx, 0, to);
    kernels(from).axpy(ctx, factor, from, to);
    return to;
  };
  Var y = make_output(scaled(x.value), {&x});
  if (y.grad) Tape::active()->record(y, [scaled, x = grad_only(x)](const Tensor& dy) { accumulate(x, scaled(dy)); });
  return y;
}

namespace {

Var cast_to(DType dtype, const Var& x) {
  if (x.value.dtype() == dtype) return x;
  auto cast = [](const Tensor& from, DType to_dtype) {
    Tensor to(from.shape(), to_dtype, from.device());
    kernels(from).cast(context(from.device()), from, to);
    return to;
  };
  Var y = make_output(cast(x.value, dtype), {&x});
  if (y.grad)
    Tape::active()->record(
        y, [cast, before = x.value.dtype(), x = grad_only(x)](const Tensor& dy) { accumulate(x, cast(dy, before)); });
  return y;
}

}  // namespace

Var widened(const Var& x) { return x.value.dtype() == DType::f16 ? cast_to(DType::f32, x) : x; }

Var accumulated(const Var& x) { return cast_to(accumulator_of(x.value.dtype()), x); }

}  // namespace coss
