// DINO's cross-entropy over feature dimensions: one kernel.
#include "losses/dino.h"

#include "losses/frame/fused.h"

namespace coss {

LossTerms dino_loss(const Temperatures& temperatures, const Var& student, const Tensor& teacher) {
  check_alike("dino", student.value, teacher);
  const SoftCrossEntropyParams p{SoftCrossEntropyParams::cross_entropy, temperatures.student, temperatures.teacher};
  return fused_loss(student, 1, [&](Tensor& values, Tensor& dstudent) {
    kernels(teacher).soft_cross_entropy(context(teacher.device()), p, student.value, teacher, values, dstudent);
  });
}

}  // namespace coss
