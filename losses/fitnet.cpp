// FitNet: the loss as one operation, and the regressor.
#include "losses/fitnet.h"

#include "autograd/ops.h"
#include "losses/frame/fused.h"

namespace coss {

LossTerms mse_loss(const Var& student, const Tensor& teacher) {
  check_alike("fitnet", student.value, teacher);
  return fused_loss(student, 1, [&](Tensor& loss, Tensor& dstudent) {
    kernels(loss).mse_loss(context(loss.device()), student.value, teacher, loss, dstudent);
  });
}

FitnetMethod::FitnetMethod(const MethodOptions& options, const MethodParts& parts)
    : MapMethod("hint", options, parts), stage_(size_t(options.whole("layer") - 1)) {
  COSS_CHECK(options["teacher_view"] == 0,
             "maps of different views have nothing to do with each other: "
             "method.teacher_view=1 goes with method.layer=0");
  const std::vector<Shape> student = stage_shapes(parts.twin, parts.image_size);
  const std::vector<Shape> teacher = stage_shapes(parts.teacher_twin, parts.image_size);
  COSS_CHECK(options["layer"] >= 1 && stage_ < student.size() && stage_ < teacher.size(),
             "method.layer=" + std::to_string(options.whole("layer")) + ": the student has " +
                 std::to_string(student.size()) + " stages, the teacher " + std::to_string(teacher.size()));
  const Shape &s = student[stage_], &t = teacher[stage_];
  const bool same = s.rank == 4 && t.rank == 4 && s[1] == t[1] && s[2] == t[2];
  const bool twice = s.rank == 4 && t.rank == 4 && s[1] == 2 * t[1] && s[2] == 2 * t[2];
  COSS_CHECK(same || twice,
             "the method fitnet wants the student's map as large as the teacher's or twice as large, and at " +
                 ("method.layer=" + std::to_string(stage_ + 1)) + " the student's is " + s.str() + ", the teacher's " +
                 t.str() + ": choose another method.layer");
  regressor_ = std::make_unique<ConvNorm>(parts.scope / "regressor", "conv", "bn",
                                          same_conv(s[3], t[3], same ? 1 : 3, same ? 1 : 2, Activation::relu));
}

Var FitnetMethod::distance(const Seen& seen) {
  const Var guess = (*regressor_)(seen.student_stages[stage_], Mode::train);
  return mse_loss(widened(guess), widened(seen.teacher_stages[stage_]).value).total;
}

FitnetEmbeddingMethod::FitnetEmbeddingMethod(const MethodOptions& options, const MethodParts& parts)
    : networks_(options, parts), weight_(options.real("weight")), label_weight_(options.real("label_weight")) {
  COSS_CHECK(weight_ >= 0 && label_weight_ > 0,
             "method.layer=0 learns from labels too: method.label_weight must be above 0, method.weight not below");
}

LossTerms FitnetEmbeddingMethod::forward(const StepInputs& inputs) {
  const EmbeddedPair::Output seen = networks_(inputs);
  const Var hint = mse_loss(seen.student, seen.teacher).total;
  LossTerms terms =
      joined(weighted_sum({{weight_, hint}, {label_weight_, seen.labels}}), {hint.value, seen.classification});
  terms.student = seen.features.value;
  terms.teacher = seen.teacher;
  return terms;
}

std::unique_ptr<Method> make_fitnet(const MethodOptions& options, const MethodParts& parts) {
  if (options.whole("layer") == 0) return std::make_unique<FitnetEmbeddingMethod>(options, parts);
  return std::make_unique<FitnetMethod>(options, parts);
}

}  // namespace coss
