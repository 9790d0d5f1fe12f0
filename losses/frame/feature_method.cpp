// Features of both networks, and the student's head.
#include "losses/frame/feature_method.h"

#include "autograd/ops.h"

namespace coss {

FeatureMethod::FeatureMethod(const HeadOptions& head, const MethodParts& parts)
    : student_(parts.student), teacher_(*parts.teacher), head_(coss_head(head, parts)) {}

LossTerms FeatureMethod::forward(const StepInputs& inputs) {
  const Tensor target = frozen_features(teacher_, inputs.views[0]);
  const Var features = student_.features(Var(inputs.views[0]), Mode::train, inputs.step);
  return loss(widened(through(head_, features)), widened(Var(target)).value).with_features(features, target);
}

}  // namespace coss
