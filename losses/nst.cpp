// NST: the loss of one stage as one operation, the options, the method.
#include "losses/nst.h"

#include "losses/frame/drawn.h"
#include "losses/frame/fused.h"
#include "losses/frame/map_method.h"

namespace coss {

LossTerms nst_loss(const Var& student, const Tensor& teacher) {
  check_same_places("nst", student.value, teacher);
  return fused_loss(student, 1, [&](Tensor& loss, Tensor& dstudent) {
    kernels(loss).nst_loss(context(loss.device()), student.value, teacher, loss, dstudent);
  });
}

namespace {

struct NstOptions {
  LabeledOptions weights{.weight = 50};

  void list(OptionList& row) { weights.list(row, "weight of the discrepancies of all stages"); }
};

class NstMethod : public StagesMethod {
 public:
  NstMethod(const NstOptions& options, const MethodParts& parts)
      : StagesMethod("nst", "selectivity", options.weights, parts) {}

 private:
  Var distance_of(size_t, const Var& student, const Var& teacher) override {
    return nst_loss(student, teacher.value).total;
  }
};

}  // namespace

MethodInfo nst_method() {
  return {.name = "nst",
          .paper =
              "Huang and Wang, Like What You Like: Knowledge Distill via Neuron Selectivity Transfer, "
              "arXiv 1707.01219, 2017",
          .needs = {.teacher = true, .labels = true},
          .options = rows_of<NstOptions>(),
          .make = build<NstMethod, NstOptions>,
          .loss_alone = [](DrawnInputs& in) -> LossCall {
            return [s = in.student_map(), t = in.teacher_map()] { return nst_loss(s, t); };
          }};
}

}  // namespace coss
