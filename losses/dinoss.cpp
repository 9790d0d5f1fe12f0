// Rows and columns, each as `dino` compares them.
#include "losses/dinoss.h"

#include "autograd/ops.h"
#include "losses/dino.h"
#include "losses/frame/fused.h"

namespace coss {

LossTerms dinoss_loss(const Temperatures& temperatures, float column_weight, const Var& student,
                      const Tensor& teacher) {
  check_alike("dinoss", student.value, teacher);
  const Var rows = dino_loss(temperatures, student, teacher).total;
  const Var columns = dino_loss(temperatures, transpose(student), transpose(Var(teacher)).value).total;
  return joined(weighted_sum({{1, rows}, {column_weight, columns}}), {rows.value, columns.value});
}

}  // namespace coss
