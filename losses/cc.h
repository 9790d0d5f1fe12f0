// CC (Peng et al., "Correlation Congruence for Knowledge Distillation", ICCV 2019) in the form that its authors gave to
// RepDistiller: with embeddings of 128 numbers on both sides, trained with the student, and delta = |student -
// teacher|, the mean over images i < N - 1 of sum_d delta_i * delta_i+1. The paper's congruence of kernel matrices is
// another loss; the published figures are of this one.
#pragma once
#include <memory>

#include "losses/frame/heads.h"
#include "losses/method.h"

namespace coss {

// The loss alone: student, teacher (N,D) of one accumulator dtype; both get a gradient. values: {total}.
LossTerms cc_loss(const Var& student, const Var& teacher);

class CcMethod : public Method {
 public:
  CcMethod(const MethodOptions& options, const MethodParts& parts);
  LossTerms forward(const StepInputs& inputs) override;
  std::vector<std::string> term_names() const override;

 private:
  Network &student_, &teacher_;
  std::unique_ptr<ProjectionHead> of_student_, of_teacher_;
  float label_weight_, weight_;
};

}  // namespace coss
