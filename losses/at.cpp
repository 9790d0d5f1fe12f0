// AT: the loss of one stage as one operation.
#include "losses/at.h"

#include "losses/frame/fused.h"

namespace coss {

LossTerms at_loss(const Var& student, const Tensor& teacher) {
  check_same_places("at", student.value, teacher);
  return fused_loss(student, 1, [&](Tensor& loss, Tensor& dstudent) {
    kernels(loss).attention_transfer_loss(context(loss.device()), student.value, teacher, loss, dstudent);
  });
}

}  // namespace coss
