// NST: the loss of one stage as one operation.
#include "losses/nst.h"

#include "losses/frame/fused.h"

namespace coss {

LossTerms nst_loss(const Var& student, const Tensor& teacher) {
  check_same_places("nst", student.value, teacher);
  return fused_loss(student, 1, [&](Tensor& loss, Tensor& dstudent) {
    kernels(loss).nst_loss(context(loss.device()), student.value, teacher, loss, dstudent);
  });
}

}  // namespace coss
