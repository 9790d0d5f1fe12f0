// SP: the loss on inner products of rows, the method on the last stage.
#include "losses/sp.h"

#include "autograd/ops.h"
#include "losses/frame/fused.h"
#include "losses/frame/relations.h"

namespace coss {

LossTerms sp_loss(const Var& student, const Tensor& teacher) {
  check_same_rows("sp", student.value, teacher);
  const Var of_student = gram(student);
  const Tensor of_teacher = gram(Var(teacher)).value;
  return fused_loss(of_student, 1, [&](Tensor& loss, Tensor& dgram) {
    kernels(loss).sp_loss(context(loss.device()), of_student.value, of_teacher, loss, dgram);
  });
}

Var SpMethod::distance(const Seen& seen) {
  const Var& student = seen.student_stages.empty() ? seen.student : seen.student_stages.back();
  const Var& teacher = seen.teacher_stages.empty() ? seen.teacher : seen.teacher_stages.back();
  return sp_loss(flat_rows(student), flat_rows(teacher).value).total;
}

}  // namespace coss
