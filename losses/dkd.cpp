// DKD: the loss as one operation, the options, the method with its warm-up, which is computed on the device.
#include "losses/dkd.h"

#include <algorithm>

#include "autograd/ops.h"
#include "losses/frame/drawn.h"
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

namespace {

struct DkdOptions {
  float cross_entropy_weight = 1;
  DkdParams loss = {};
  double warmup_epochs = 20;

  void list(OptionList& row) {
    row.number("cross_entropy_weight", cross_entropy_weight, "weight of the cross-entropy with labels");
    row.number("target_weight", loss.target_weight, "weight of the divergence of the target class against all others");
    row.number("other_weight", loss.other_weight, "weight of the divergence among the other classes");
    row.positive("temperature", loss.temperature, "both networks' logits are divided by it");
    row.number("warmup_epochs", warmup_epochs, "epochs, in which both divergences reach their weight");
  }
};

class DkdMethod : public Method {
 public:
  DkdMethod(const DkdOptions& options, const MethodParts& parts)
      : options_(options),
        warmup_updates_(options.warmup_epochs * double(parts.steps_per_epoch)),
        first_share_(0.5 / std::max(options.warmup_epochs, 0.5)),
        student_(parts.student),
        teacher_(*parts.teacher) {
    check_classifiers("dkd", parts);
  }

  LossTerms forward(const StepInputs& inputs) override {
    const LogitPair seen = logits_of(student_, teacher_, inputs);
    const Var label = cross_entropy(seen.student, inputs.labels);
    const LossTerms parts = dkd_loss(options_.loss, seen.student, seen.teacher, inputs.labels);
    Var decoupled = parts.total;
    if (warmup_updates_ > 0)
      decoupled = times(decoupled, ramp(inputs.step, first_share_, warmup_updates_, decoupled.value.dtype()));
    return joined(weighted_sum({{options_.cross_entropy_weight, label}, {1, decoupled}}),
                  {label.value, parts.values.view(1, {1}), parts.values.view(2, {1})})
        .with_features(Var(seen.student_features), seen.teacher_features);
  }
  std::vector<std::string> term_names() const override { return {"total", "label", "target", "others"}; }

 private:
  DkdOptions options_;
  double warmup_updates_, first_share_;  // the latter: of the weight, before the first update
  Network &student_, &teacher_;
};

}  // namespace

MethodInfo dkd_method() {
  return {.name = "dkd",
          .paper = "Zhao et al., Decoupled Knowledge Distillation, CVPR 2022",
          .needs = {.teacher = true, .labels = true, .teacher_logits = true},
          .options = rows_of<DkdOptions>(),
          .make = build<DkdMethod, DkdOptions>,
          .loss_alone = [](DrawnInputs& in) -> LossCall {
            return [s = in.student_logits(), t = in.teacher_logits(), labels = in.labels()] {
              return dkd_loss({}, s, t, labels);
            };
          }};
}

}  // namespace coss
