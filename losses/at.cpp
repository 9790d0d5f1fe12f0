// AT: the loss of one stage as one operation, the options, the method.
#include "losses/at.h"

#include "losses/frame/drawn.h"
#include "losses/frame/fused.h"
#include "losses/frame/map_method.h"

namespace coss {

LossTerms at_loss(const Var& student, const Tensor& teacher) {
  check_same_places("at", student.value, teacher);
  return fused_loss(student, 1, [&](Tensor& loss, Tensor& dstudent) {
    kernels(loss).attention_transfer_loss(context(loss.device()), student.value, teacher, loss, dstudent);
  });
}

namespace {

struct AtOptions {
  LabeledOptions weights{.weight = 1000};

  void list(OptionList& row) { weights.list(row, "weight of the distances of all stages"); }
};

class AtMethod : public StagesMethod {
 public:
  AtMethod(const AtOptions& options, const MethodParts& parts)
      : StagesMethod("at", "attention", options.weights, parts) {}

 private:
  Var distance_of(size_t, const Var& student, const Var& teacher) override {
    return at_loss(student, teacher.value).total;
  }
};

}  // namespace

MethodInfo at_method() {
  return {.name = "at",
          .paper = "Zagoruyko and Komodakis, Paying More Attention to Attention, ICLR 2017",
          .needs = {.teacher = true, .labels = true},
          .options = rows_of<AtOptions>(),
          .make = build<AtMethod, AtOptions>,
          .loss_alone = [](DrawnInputs& in) -> LossCall {
            return [s = in.student_map(), t = in.teacher_map()] { return at_loss(s, t); };
          }};
}

}  // namespace coss
