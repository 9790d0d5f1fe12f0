// SP: the loss on inner products of rows, the options, the method on the last stage.
#include "losses/sp.h"

#include "autograd/ops.h"
#include "losses/frame/drawn.h"
#include "losses/frame/fused.h"
#include "losses/frame/map_method.h"
#include "losses/frame/relations.h"

namespace coss {

LossTerms sp_loss(const Var& student, const Tensor& teacher) {
  check_same_rows("sp", student.value, teacher);
  const Var of_student = gram(student);
  const Tensor of_teacher = gram(Var(teacher)).value;
  return fused_loss(of_student, 1, [&](Tensor& loss, Tensor& dgram) {
    kernels(loss).sp_loss(context(loss.device()), of_student.value, of_teacher, loss, dgram);
  });
}

namespace {

struct SpOptions {
  LabeledOptions weights{.weight = 3000};

  void list(OptionList& row) { weights.list(row, "weight of the similarities"); }
};

class SpMethod : public MapMethod {
 public:
  SpMethod(const SpOptions& options, const MethodParts& parts) : MapMethod("similarity", options.weights, parts) {}

 private:
  Var distance(const Seen& seen) override {
    const Var& student = seen.student_stages.empty() ? seen.student : seen.student_stages.back();
    const Var& teacher = seen.teacher_stages.empty() ? seen.teacher : seen.teacher_stages.back();
    return sp_loss(flat_rows(student), flat_rows(teacher).value).total;
  }
};

}  // namespace

MethodInfo sp_method() {
  return {.name = "sp",
          .paper = "Tung and Mori, Similarity-Preserving Knowledge Distillation, ICCV 2019",
          .needs = {.teacher = true, .labels = true},
          .options = rows_of<SpOptions>(),
          .make = build<SpMethod, SpOptions>,
          .loss_alone = [](DrawnInputs& in) -> LossCall {
            return [s = in.student(), t = in.teacher()] { return sp_loss(s, t); };
          }};
}

}  // namespace coss
