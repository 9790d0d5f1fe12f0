// Losses that more than one method uses. The kernel computes the gradient in the same pass as the value.
#include "autograd/ops.h"

namespace coss {

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
