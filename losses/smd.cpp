// SMD: the loss as one operation, and the method around it.
#include "losses/smd.h"

#include "autograd/ops.h"
#include "losses/frame/fused.h"
#include "losses/frame/scheduled.h"

namespace coss {
LossTerms smd_loss(float temperature, const Tensor& cosine_weight, const Var& student, const Tensor& teacher) {
  check_alike("smd", student.value, teacher);
  const Var target = normalize_rows(kSmallestNorm, Var(teacher));
  const Tensor of_teacher = gram(target).value;
  const Var cosines = product(target, normalize_rows(kSmallestNorm, student));
  return fused_loss(cosines, 3, [&](Tensor& terms, Tensor& dcosines) {
    kernels(terms).smd_loss(context(terms.device()), temperature, cosine_weight, of_teacher, cosines.value, terms,
                            dcosines);
  });
}

SmdMethod::SmdMethod(const MethodOptions& options, const MethodParts& parts)
    : student_(parts.student),
      teacher_(*parts.teacher),
      head_(mlp_head(parts.scope / "head", 1, student_.feature_width, 0, teacher_.feature_width)),
      temperature_(options.real("temperature")),
      warm_steps_(options["warm_epochs"] * double(parts.steps_per_epoch)) {}

LossTerms SmdMethod::forward(const StepInputs& inputs) {
  const Tensor weight = while_below(inputs.step, warm_steps_, accumulator_of(inputs.views[0].dtype()));
  std::vector<LossTerms> of_views;
  for (const Tensor& view : inputs.views) {
    const Tensor target = frozen_features(teacher_, view);
    const Var features = student_.features(Var(view), Mode::train, inputs.step);
    of_views.push_back(
        smd_loss(temperature_, weight, accumulated(through(head_, features)), accumulated(Var(target)).value));
    of_views.back().student = features.value;
    of_views.back().teacher = target;
  }
  const LossTerms &a = of_views.at(0), &b = of_views.at(1);
  const Var values = scale(add(Var(a.values), Var(b.values)), 0.5f);
  return {scale(add(a.total, b.total), 0.5f), values.value, a.student, a.teacher};
}

}  // namespace coss
