// NCE: the loss as one operation, and the method around it.
#include "losses/nce.h"

#include "autograd/ops.h"
#include "losses/frame/fused.h"

namespace coss {
LossTerms nce_loss(float temperature, const Var& student, const Tensor& teacher, const Tensor& labels) {
  check_alike("nce", student.value, teacher);
  const Var cosines = product(normalize_rows(kSmallestNorm, student), normalize_rows(kSmallestNorm, Var(teacher)));
  return fused_loss(cosines, 1, [&](Tensor& loss, Tensor& dcosines) {
    kernels(loss).nce_loss(context(loss.device()), temperature, cosines.value, labels, loss, dcosines);
  });
}

NceMethod::NceMethod(const MethodOptions& options, const MethodParts& parts)
    : networks_(options, parts), temperature_(options.real("temperature")), weight_(options.real("weight")) {}

std::vector<std::string> NceMethod::term_names() const {
  if (networks_.learns()) return {"total", "label", "nce", "teacher_label"};
  return {"total", "label", "nce"};
}

LossTerms NceMethod::forward(const StepInputs& inputs) {
  const EmbeddedPair::Output y = networks_(inputs);
  const Var nce = nce_loss(temperature_, y.student, y.teacher, inputs.labels).total;
  const Var total = weighted_sum({{1.0f, y.labels}, {weight_, nce}});
  LossTerms terms = networks_.learns() ? joined(total, {y.classification, nce.value, y.teacher_classification})
                                       : joined(total, {y.classification, nce.value});
  terms.student = y.features.value;
  terms.teacher = y.teacher;
  return terms;
}

}  // namespace coss
