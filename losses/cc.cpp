// CC: the loss as one operation, and the method around it.
#include "losses/cc.h"

#include "autograd/ops.h"
#include "losses/frame/fused.h"

namespace coss {

LossTerms cc_loss(const Var& student, const Var& teacher) {
  check_alike("cc", student.value, teacher.value);
  return fused_loss(student, teacher, 1, [&](Tensor& loss, Tensor& dstudent, Tensor& dteacher) {
    kernels(loss).cc_loss(context(loss.device()), student.value, teacher.value, loss, dstudent, dteacher);
  });
}

CcMethod::CcMethod(const MethodOptions& options, const MethodParts& parts)
    : student_(parts.student),
      teacher_(*parts.teacher),
      label_weight_(options.real("label_weight")),
      weight_(options.real("weight")) {
  const int64_t width = options.whole("embedding");
  COSS_CHECK(width > 0, "method.embedding must be above 0");
  of_student_ = mlp_head(parts.scope / "embedding", 1, student_.feature_width, 0, width);
  of_teacher_ = mlp_head(parts.scope / "teacher_embedding", 1, teacher_.feature_width, 0, width);
}

std::vector<std::string> CcMethod::term_names() const {
  if (label_weight_ == 0) return {"total", "cc"};
  return {"total", "cc", "label"};
}

LossTerms CcMethod::forward(const StepInputs& inputs) {
  const Tensor target = frozen_features(teacher_, inputs.views[0]);
  const Var features = student_.features(Var(inputs.views[0]), Mode::train, inputs.step);
  const Var cc =
      cc_loss(accumulated(through(of_student_, features)), accumulated(through(of_teacher_, Var(target)))).total;
  LossTerms terms;
  if (label_weight_ == 0) {
    terms = joined(weighted_sum({{weight_, cc}}), {cc.value});
  } else {
    const Var of_labels = cross_entropy(widened(student_.logits(features, Mode::train, inputs.step)), inputs.labels);
    terms = joined(weighted_sum({{weight_, cc}, {label_weight_, of_labels}}), {cc.value, of_labels.value});
  }
  terms.student = features.value;
  terms.teacher = target;
  return terms;
}

}  // namespace coss
