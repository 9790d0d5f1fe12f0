// Linear: y = act(x w^T + bias); all axes of x but the last are rows.
#include "autograd/graph.h"
#include "autograd/ops.h"

namespace coss {

namespace {

// Whether the matrix product can apply this activation itself.
bool fits_matmul(Activation act) { return clips(act) || act == Activation::gelu || act == Activation::quick_gelu; }

}  // namespace

Var linear(const Var& x, const Var& w, const Var& bias, Activation act) {
  COSS_CHECK(x.shape().rank >= 2 && w.shape().rank == 2,
             "[linear] input " + x.shape().str() + " must be (…,columns) and weight " + w.shape().str() + " a matrix");
  COSS_CHECK(x.shape().back() == w.shape()[1], "[linear] input has " + std::to_string(x.shape().back()) +
                                                   " columns, weight expects " + std::to_string(w.shape()[1]));
  COSS_CHECK(bias.empty() || bias.shape() == Shape{w.shape()[0]},
             "[linear] bias " + bias.shape().str() + " does not fit weight " + w.shape().str());
  COSS_CHECK(x.value.dtype() == w.value.dtype(),
             std::string("[linear] input is ") + name_of(x.value.dtype()) + ", weight is " + name_of(w.value.dtype()));
  const DType wide = accumulator_of(x.value.dtype());
  Context& ctx = context(x.value.device());
  Shape shape = x.shape();
  shape.dims[size_t(shape.rank - 1)] = w.shape()[0];
  Var y = make_output(Tensor(shape, x.value.dtype(), ctx.device()), {&x, &w, &bias});
  const Activation fused = !y.grad && fits_matmul(act) ? act : Activation::none;
  kernels(x.value).matmul(ctx, {.transpose_b = true, .activation = fused}, x.value, w.value, bias.value, y.value);
  note(node::Linear{fused}, {x.value, w.value, bias.value}, y.value);
  if (y.grad)
    Tape::active()->record(y, [x, w, bias, wide](const Tensor& dy) {
      Context& on = context(dy.device());
      if (x.grad) {
        Tensor dx(x.shape(), dy.dtype(), dy.device());
        kernels(dy).matmul(on, {}, dy, w.value, {}, dx);
        accumulate(x, dx);
      }
      accumulate_with(w, wide, [&](float beta, Tensor& dw) {
        kernels(dy).matmul(on, {.transpose_a = true, .beta = beta}, dy, x.value, {}, dw);
      });
      accumulate_with(bias, wide, [&](float beta, Tensor& db) { kernels(dy).sum_rows(on, beta, dy, db); });
    });
  return activation(fused == act ? Activation::none : act, y);
}

}  // namespace coss
