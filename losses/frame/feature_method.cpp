// Features of both networks, and the student's head.
#include "losses/frame/feature_method.h"

#include "autograd/ops.h"

namespace coss {

FeatureMethod::FeatureMethod(const MethodOptions& options, const MethodParts& parts)
    : student_(parts.student), teacher_(*parts.teacher), head_(coss_head(options, parts)) {}

LossTerms FeatureMethod::forward(const StepInputs& inputs) {
  const Tensor target = frozen_features(teacher_, inputs.views[0]);
  const Var features = student_.features(Var(inputs.views[0]), Mode::train, inputs.step);
  LossTerms terms = loss(widened(through(head_, features)), widened(Var(target)).value);
  terms.student = features.value;
  terms.teacher = target;
  return terms;
}

Temperatures temperatures_of(const MethodOptions& options) {
  const Temperatures t{options.real("student_temperature"), options.real("teacher_temperature")};
  COSS_CHECK(t.student > 0 && t.teacher > 0,
             "method.student_temperature and method.teacher_temperature must be above 0");
  return t;
}

}  // namespace coss
