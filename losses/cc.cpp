// CC: the loss as one operation, the options, the method.
#include "losses/cc.h"

#include "autograd/ops.h"
#include "losses/frame/drawn.h"
#include "losses/frame/fused.h"
#include "losses/frame/heads.h"
#include "losses/frame/labels.h"

namespace coss {

LossTerms cc_loss(const Var& student, const Var& teacher) {
  check_alike("cc", student.value, teacher.value);
  return fused_loss(student, teacher, 1, [&](Tensor& loss, Tensor& dstudent, Tensor& dteacher) {
    kernels(loss).cc_loss(context(loss.device()), student.value, teacher.value, loss, dstudent, dteacher);
  });
}

namespace {

struct CcOptions {
  LabeledOptions weights{.weight = 0.02f};
  int64_t embedding = 128;

  void list(OptionList& row) {
    weights.list(row, "weight of the congruence");
    row.count("embedding", embedding, "width of the embeddings of both sides");
  }
};

class CcMethod : public Method {
 public:
  CcMethod(const CcOptions& options, const MethodParts& parts)
      : weights_(options.weights),
        student_(parts.student),
        teacher_(*parts.teacher),
        of_student_(mlp_head(parts.scope / "embedding", 1, student_.feature_width, 0, options.embedding)),
        of_teacher_(mlp_head(parts.scope / "teacher_embedding", 1, teacher_.feature_width, 0, options.embedding)) {}

  LossTerms forward(const StepInputs& inputs) override {
    const Tensor target = frozen_features(teacher_, inputs.views[0]);
    const Var features = student_.features(Var(inputs.views[0]), Mode::train, inputs.step);
    const Var cc =
        cc_loss(accumulated(through(of_student_, features)), accumulated(through(of_teacher_, Var(target)))).total;
    const Var label = label_loss(weights_.label_weight, student_, features, inputs);
    return joined(weighted_sum({{weights_.weight, cc}, {weights_.label_weight, label}}), {cc.value, label.value})
        .with_features(features, target);
  }
  std::vector<std::string> term_names() const override {
    if (weights_.label_weight == 0) return {"total", "cc"};
    return {"total", "cc", "label"};
  }

 private:
  LabeledOptions weights_;
  Network &student_, &teacher_;
  std::unique_ptr<ProjectionHead> of_student_, of_teacher_;
};

}  // namespace

MethodInfo cc_method() {
  return {.name = "cc",
          .paper = "Peng et al., Correlation Congruence for Knowledge Distillation, ICCV 2019",
          .needs = {.teacher = true, .labels = true},
          .options = rows_of<CcOptions>(),
          .make = build<CcMethod, CcOptions>,
          .loss_alone = [](DrawnInputs& in) -> LossCall {
            return [s = in.student_embedding(), t = in.variable(in.teacher_embedding())] { return cc_loss(s, t); };
          }};
}

}  // namespace coss
