// DKD: the loss as one operation, and the method with its warm-up, which is computed on the device.
#include "losses/dkd.h"

#include <algorithm>

#include "autograd/ops.h"
#include "losses/frame/fused.h"
#include "losses/frame/logits.h"
#include "losses/frame/scheduled.h"

namespace coss {

LossTerms dkd_loss(const DkdParams& params, const Var& student, const Tensor& teacher, const Tensor& labels) {
  check_alike("dkd", student.value, teacher);
  COSS_CHECK(student.shape().rank == 2 && student.shape()[1] > 1,
             "[dkd] needs logits of two classes or more, found " + student.shape().str());
  return fused_loss(student, 3, [&](Tensor& values, Tensor& dstudent) {
    kernels(teacher).dkd_loss(context(teacher.device()), params, student.value, teacher, labels, values, dstudent);
  });
}

DkdMethod::DkdMethod(const MethodOptions& options, const MethodParts& parts)
    : loss_{options.real("target_weight"), options.real("other_weight"), options.real("temperature")},
      cross_entropy_weight_(options.real("cross_entropy_weight")),
      warmup_updates_(options["warmup_epochs"] * double(parts.steps_per_epoch)),
      first_share_(0.5 / std::max(options["warmup_epochs"], 0.5)),
      student_(parts.student),
      teacher_(*parts.teacher) {
  COSS_CHECK(loss_.temperature > 0, "method.temperature must be above 0");
  COSS_CHECK(warmup_updates_ >= 0, "method.warmup_epochs must not be negative");
  check_classifiers("dkd", parts);
}

LossTerms DkdMethod::forward(const StepInputs& inputs) {
  const LogitPair logits = logits_of(student_, teacher_, inputs);
  const Var label = cross_entropy(logits.student, inputs.labels);
  const LossTerms parts = dkd_loss(loss_, logits.student, logits.teacher, inputs.labels);
  Var decoupled = parts.total;
  if (warmup_updates_ > 0)
    decoupled = times(decoupled, ramp(inputs.step, first_share_, warmup_updates_, decoupled.value.dtype()));
  LossTerms terms = joined(weighted_sum({{cross_entropy_weight_, label}, {1, decoupled}}),
                           {label.value, parts.values.view(1, {1}), parts.values.view(2, {1})});
  terms.student = logits.student_features;
  terms.teacher = logits.teacher_features;
  return terms;
}

}  // namespace coss
