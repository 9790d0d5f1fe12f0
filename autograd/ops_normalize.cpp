// Rows of unit length.
#include "autograd/graph.h"
#include "autograd/ops.h"

namespace coss {

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

}  // namespace coss
