// Linear: y = x w^T + bias.
#include "autograd/ops.h"

namespace coss {

Var linear(const Var& x, const Var& w, const Var& bias) {
  COSS_CHECK(x.shape().rank == 2 && w.shape().rank == 2,
             "[linear] input " + x.shape().str() + " and weight " + w.shape().str() + " must be matrices");
  COSS_CHECK(x.shape()[1] == w.shape()[1], "[linear] input has " + std::to_string(x.shape()[1]) +
                                               " columns, weight expects " + std::to_string(w.shape()[1]));
  COSS_CHECK(bias.empty() || bias.shape() == Shape{w.shape()[0]},
             "[linear] bias " + bias.shape().str() + " does not fit weight " + w.shape().str());
  COSS_CHECK(x.value.dtype() == w.value.dtype(),
             std::string("[linear] input is ") + name_of(x.value.dtype()) + ", weight is " + name_of(w.value.dtype()));
  const DType wide = accumulator_of(x.value.dtype());
  Context& ctx = context(x.value.device());
  Var y = make_output(Tensor({x.shape()[0], w.shape()[0]}, x.value.dtype(), ctx.device()), {&x, &w, &bias});
  kernels(x.value).matmul(ctx, {.transpose_b = true}, x.value, w.value, bias.value, y.value);
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
  return y;
}

}  // namespace coss
