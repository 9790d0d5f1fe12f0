// CCL: NCE and the symmetric divergence of logits.
#include "losses/ccl.h"

#include "autograd/ops.h"
#include "losses/frame/fused.h"

namespace coss {

CclMethod::CclMethod(const MethodOptions& options, const MethodParts& parts)
    : networks_(options, parts), temperature_(options.real("temperature")), weight_(options.real("weight")) {
  COSS_CHECK(networks_.teacher_classes() == parts.student.classes,
             "the method ccl compares logits: the student has " + std::to_string(parts.student.classes) +
                 " classes, the teacher " + std::to_string(networks_.teacher_classes()) +
                 "; with method.embedding=256 a classifier is trained behind the teacher");
}

std::vector<std::string> CclMethod::term_names() const {
  if (networks_.learns()) return {"total", "label", "nce", "divergence", "teacher_label"};
  return {"total", "label", "nce", "divergence"};
}

LossTerms CclMethod::forward(const StepInputs& inputs) {
  const EmbeddedPair::Output y = networks_(inputs);
  const Var nce = nce_loss(temperature_, y.student, y.teacher, inputs.labels).total;
  const Var logits = widened(y.logits);
  const Tensor target = widened(Var(y.teacher_logits)).value;
  const Var divergence =
      fused_loss(logits, 1, [&](Tensor& loss, Tensor& dlogits) {
        kernels(loss).soft_cross_entropy(context(loss.device()), {.kind = SoftCrossEntropyParams::symmetric},
                                         logits.value, target, loss, dlogits);
      }).total;
  const Var total = weighted_sum({{1.0f, y.labels}, {weight_, nce}, {weight_, divergence}});
  LossTerms terms = networks_.learns()
                        ? joined(total, {y.classification, nce.value, divergence.value, y.teacher_classification})
                        : joined(total, {y.classification, nce.value, divergence.value});
  terms.student = y.features.value;
  terms.teacher = y.teacher;
  return terms;
}

}  // namespace coss
