// DINO's cross-entropy over feature dimensions: one kernel, the options, the method.
#include "losses/dino.h"

#include "losses/frame/drawn.h"
#include "losses/frame/fused.h"

namespace coss {

LossTerms dino_loss(const Temperatures& temperatures, const Var& student, const Tensor& teacher) {
  check_alike("dino", student.value, teacher);
  const SoftCrossEntropyParams p{SoftCrossEntropyParams::cross_entropy, temperatures.student, temperatures.teacher};
  return fused_loss(student, 1, [&](Tensor& values, Tensor& dstudent) {
    kernels(teacher).soft_cross_entropy(context(teacher.device()), p, student.value, teacher, values, dstudent);
  });
}

namespace {

struct DinoOptions {
  Temperatures temperatures = {};
  HeadOptions head = {};

  void list(OptionList& row) {
    temperatures.list(row);
    head.list(row);
  }
};

class DinoMethod : public FeatureMethod {
 public:
  DinoMethod(const DinoOptions& options, const MethodParts& parts)
      : FeatureMethod(options.head, parts), temperatures_(options.temperatures) {}
  std::vector<std::string> term_names() const override { return {"total"}; }

 private:
  LossTerms loss(const Var& student, const Tensor& teacher) const override {
    return dino_loss(temperatures_, student, teacher);
  }

  Temperatures temperatures_;
};

}  // namespace

MethodInfo dino_method() {
  return {.name = "dino",
          .paper =
              "DINO's cross-entropy over feature dimensions (Caron et al., ICCV 2021), as in Singh and Wang, "
              "ECCV 2024",
          .needs = {.teacher = true},
          .options = rows_of<DinoOptions>(),
          .make = build<DinoMethod, DinoOptions>,
          .loss_alone = [](DrawnInputs& in) -> LossCall {
            return [s = in.student(), t = in.teacher()] { return dino_loss({}, s, t); };
          }};
}

}  // namespace coss
