// SMD: the loss as one operation, the options, the method.
#include "losses/smd.h"

#include "autograd/ops.h"
#include "losses/frame/drawn.h"
#include "losses/frame/fused.h"
#include "losses/frame/heads.h"
#include "losses/frame/scheduled.h"
#include "losses/frame/views.h"

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

namespace {

struct SmdOptions {
  float temperature = 0.04f;
  double warm_epochs = 2;

  void list(OptionList& row) {
    row.positive("temperature", temperature,
                 "the distances are divided by it; the authors' for EfficientNet and MobileNet is 0.004");
    row.number("warm_epochs", warm_epochs, "epochs in which the cosine of the own pairs is added");
  }
};

class SmdMethod : public Method {
 public:
  SmdMethod(const SmdOptions& options, const MethodParts& parts)
      : temperature_(options.temperature),
        warm_updates_(options.warm_epochs * double(parts.steps_per_epoch)),
        student_(parts.student),
        teacher_(*parts.teacher),
        head_(mlp_head(parts.scope / "head", 1, student_.feature_width, 0, teacher_.feature_width)) {}

  LossTerms forward(const StepInputs& inputs) override {
    const Tensor weight = while_below(inputs.step, warm_updates_, accumulator_of(inputs.views[0].dtype()));
    const LossTerms a = of_view(inputs.views[0], inputs.step, weight),
                    b = of_view(inputs.views[1], inputs.step, weight);
    const Var values = scale(add(Var(a.values), Var(b.values)), 0.5f);
    return {scale(add(a.total, b.total), 0.5f), values.value, a.student, a.teacher};
  }
  std::vector<std::string> term_names() const override { return {"total", "distance", "cosine"}; }

 private:
  LossTerms of_view(const Tensor& view, const Tensor& step, const Tensor& cosine_weight) {
    const Tensor target = frozen_features(teacher_, view);
    const Var features = student_.features(Var(view), Mode::train, step);
    return smd_loss(temperature_, cosine_weight, accumulated(through(head_, features)), accumulated(Var(target)).value)
        .with_features(features, target);
  }

  float temperature_;
  double warm_updates_;  // the first ones, in which the cosine is added
  Network &student_, &teacher_;
  std::unique_ptr<ProjectionHead> head_;
};

}  // namespace

MethodInfo smd_method() {
  return {.name = "smd",
          .paper =
              "Liu and Ye, Improving Self-supervised Lightweight Model Learning via Hard-Aware Metric "
              "Distillation, ECCV 2022",
          .needs = {.teacher = true},
          .options = rows_of<SmdOptions>(),
          .make = build<SmdMethod, SmdOptions>,
          .views = two_views,
          .loss_alone = [](DrawnInputs& in) -> LossCall {
            const Tensor no_cosine = Tensor::from(std::vector<float>{0}, {1}, in.device);
            return [s = in.student(), t = in.teacher(), no_cosine] { return smd_loss(0.04f, no_cosine, s, t); };
          }};
}

}  // namespace coss
