// KD: one kernel for the divergence, one for the labels.
#include "losses/kd.h"

#include "autograd/ops.h"
#include "losses/frame/fused.h"
#include "losses/frame/logits.h"

namespace coss {

LossTerms kd_loss(float temperature, const Var& student, const Tensor& teacher) {
  check_alike("kd", student.value, teacher);
  const SoftCrossEntropyParams p{SoftCrossEntropyParams::divergence, temperature, temperature,
                                 temperature * temperature};
  return fused_loss(student, 1, [&](Tensor& values, Tensor& dstudent) {
    kernels(teacher).soft_cross_entropy(context(teacher.device()), p, student.value, teacher, values, dstudent);
  });
}

KdMethod::KdMethod(const MethodOptions& options, const MethodParts& parts)
    : label_weight_(options.real("label_weight")),
      distill_weight_(options.real("distill_weight")),
      temperature_(options.real("temperature")),
      student_(parts.student),
      teacher_(*parts.teacher) {
  COSS_CHECK(temperature_ > 0, "method.temperature must be above 0");
  if (options["embedding"] == 0) {
    check_classifiers("kd", parts);
    return;
  }
  COSS_CHECK(label_weight_ > 0,
             "embeddings learn from labels: with method.embedding method.label_weight must be above 0");
  embedded_ = std::make_unique<EmbeddedPair>(options, parts);
}

std::vector<std::string> KdMethod::term_names() const {
  if (label_weight_ == 0) return {"total", "distillation"};
  return {"total", "distillation", "label"};
}

LossTerms KdMethod::forward(const StepInputs& inputs) {
  Var logits, label, student;
  Tensor target, teacher, label_value;
  if (embedded_) {
    const EmbeddedPair::Output seen = (*embedded_)(inputs);
    logits = widened(seen.logits), target = widened(Var(seen.teacher_logits)).value;
    label = seen.labels, label_value = seen.classification;
    student = seen.features, teacher = seen.teacher;
  } else {
    const LogitPair seen = logits_of(student_, teacher_, inputs);
    logits = seen.student, target = seen.teacher;
    if (label_weight_ != 0) label = cross_entropy(logits, inputs.labels), label_value = label.value;
    student = Var(seen.student_features), teacher = seen.teacher_features;
  }
  const Var distillation = kd_loss(temperature_, logits, target).total;
  LossTerms terms = label.empty() ? joined(weighted_sum({{distill_weight_, distillation}}), {distillation.value})
                                  : joined(weighted_sum({{distill_weight_, distillation}, {label_weight_, label}}),
                                           {distillation.value, label_value});
  terms.student = student.value;
  terms.teacher = teacher;
  return terms;
}

}  // namespace coss
