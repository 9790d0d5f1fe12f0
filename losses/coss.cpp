// CoSS: the loss as one operation, and the methods around it.
#include "losses/coss.h"

#include "autograd/ops.h"
#include "losses/frame/fused.h"

namespace coss {

LossTerms coss_loss(const CossParams& params, const Var& student, const Tensor& teacher) {
  COSS_CHECK(student.shape().rank == 2, "[coss] student features are " + student.shape().str());
  check_alike("coss", student.value, teacher);
  return fused_loss(student, 3, [&](Tensor& values, Tensor& dstudent) {
    kernels(teacher).coss_loss(context(teacher.device()), params, student.value, teacher, values, dstudent);
  });
}

namespace {

CossParams params_of(const MethodOptions& options) {
  COSS_CHECK(options["student_temperature"] > 0 && options["teacher_temperature"] > 0,
             "method.student_temperature and method.teacher_temperature must be above 0");
  COSS_CHECK(options["loss_scale"] >= 0, "method.loss_scale must be above 0, or 0 for that of the temperatures");
  const float of_temperatures = 1 / (options.real("student_temperature") * options.real("teacher_temperature"));
  return {.scale = options["loss_scale"] > 0 ? options.real("loss_scale") : of_temperatures,
          .row_weight = options.real("row_weight"),
          .column_weight = options.real("column_weight")};
}

}  // namespace

CossMethod::CossMethod(const CossParams& loss, const MethodParts& parts, std::unique_ptr<ProjectionHead> head)
    : loss_(loss), student_(parts.student), teacher_(*parts.teacher), head_(std::move(head)) {}

CossMethod::CossMethod(const MethodOptions& options, const MethodParts& parts)
    : CossMethod(params_of(options), parts, coss_head(options, parts)) {}

SimregMethod::SimregMethod(const MethodOptions&, const MethodParts& parts)
    : CossMethod({.scale = 2, .row_weight = 1, .column_weight = 0}, parts,
                 simreg_head(parts.scope / "head", parts.student.feature_width, parts.teacher->feature_width)) {}

LossTerms CossMethod::forward(const StepInputs& inputs) {
  const Tensor target = frozen_features(teacher_, inputs.views[0]);
  const Var features = student_.features(Var(inputs.views[0]), Mode::train, inputs.step);
  LossTerms terms = coss_loss(loss_, widened(through(head_, features)), widened(Var(target)).value);
  terms.student = features.value;
  terms.teacher = target;
  return terms;
}

}  // namespace coss
