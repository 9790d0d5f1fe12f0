// CoSS and SimReg: the loss as one operation, the options, the method.
#include "losses/coss.h"

#include "autograd/ops.h"
#include "losses/frame/drawn.h"
#include "losses/frame/fused.h"
#include "losses/frame/heads.h"

namespace coss {

LossTerms coss_loss(const CossParams& params, const Var& student, const Tensor& teacher) {
  COSS_CHECK(student.shape().rank == 2, "[coss] student features are " + student.shape().str());
  check_alike("coss", student.value, teacher);
  return fused_loss(student, 3, [&](Tensor& values, Tensor& dstudent) {
    kernels(teacher).coss_loss(context(teacher.device()), params, student.value, teacher, values, dstudent);
  });
}

namespace {

struct CossOptions {
  float student_temperature = 0.1f, teacher_temperature = 0.07f, loss_scale = 0;
  float row_weight = 1, column_weight = 1;
  HeadOptions head = {};

  void list(OptionList& row) {
    row.positive("student_temperature", student_temperature, "the loss is divided by both temperatures");
    row.positive("teacher_temperature", teacher_temperature, "the loss is divided by both temperatures");
    row.number("loss_scale", loss_scale, "instead of the temperatures: the loss is multiplied by this; 0: they count");
    row.number("row_weight", row_weight, "weight of the term per image");
    row.number("column_weight", column_weight, "weight of the term per feature dimension");
    head.list(row);
  }
};

class CossMethod : public Method {
 public:
  CossMethod(const CossOptions& options, const MethodParts& parts)
      : CossMethod({.scale = options.loss_scale > 0 ? options.loss_scale
                                                    : 1 / (options.student_temperature * options.teacher_temperature),
                    .row_weight = options.row_weight,
                    .column_weight = options.column_weight},
                   parts, coss_head(options.head, parts)) {}
  CossMethod(const CossParams& loss, const MethodParts& parts, std::unique_ptr<ProjectionHead> head)
      : loss_(loss), student_(parts.student), teacher_(*parts.teacher), head_(std::move(head)) {}

  LossTerms forward(const StepInputs& inputs) override {
    const Tensor target = frozen_features(teacher_, inputs.views[0]);
    const Var features = student_.features(Var(inputs.views[0]), Mode::train, inputs.step);
    return coss_loss(loss_, widened(through(head_, features)), widened(Var(target)).value)
        .with_features(features, target);
  }
  std::vector<std::string> term_names() const override { return {"total", "cosine", "space"}; }

 private:
  CossParams loss_;
  Network &student_, &teacher_;
  std::unique_ptr<ProjectionHead> head_;
};

// The paper's 2 - 2 cos without its constant, mean over images, behind SimReg's head. The space term is only shown.
std::unique_ptr<Method> make_simreg(const MethodOptions&, const MethodParts& parts) {
  return std::make_unique<CossMethod>(
      CossParams{.scale = 2, .row_weight = 1, .column_weight = 0}, parts,
      simreg_head(parts.scope / "head", parts.student.feature_width, parts.teacher->feature_width));
}

}  // namespace

MethodInfo coss_method() {
  return {.name = "coss",
          .paper = "Singh and Wang, Simple Unsupervised Knowledge Distillation With Space Similarity, ECCV 2024",
          .needs = {.teacher = true, .neighbors = true},
          .options = rows_of<CossOptions>(),
          .make = build<CossMethod, CossOptions>,
          .loss_alone = [](DrawnInputs& in) -> LossCall {
            return [s = in.student(), t = in.teacher()] { return coss_loss({.scale = 100}, s, t); };
          }};
}

MethodInfo simreg_method() {
  return {.name = "simreg",
          .paper =
              "Navaneet et al., SimReg: Regression as a Simple Yet Effective Tool for Self-supervised Knowledge "
              "Distillation, BMVC 2021",
          .needs = {.teacher = true},
          .make = make_simreg};
}

}  // namespace coss
