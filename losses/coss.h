// CoSS (Singh and Wang, "Simple Unsupervised Knowledge Distillation With Space Similarity", ECCV 2024): the student's
// features follow the teacher's in direction per image (rows) and per feature over the batch (columns).
#pragma once
#include <memory>

#include "layers/linear.h"
#include "losses/method.h"

namespace coss {

// The loss alone: student, teacher (N,D) of one dtype. values: {total, cosine, space}, the latter two unscaled.
LossTerms coss_loss(const CossParams& params, const Var& student, const Tensor& teacher);

class CossMethod : public Method {
 public:
  CossMethod(const MethodOptions& options, const Scope& scope, Network& student, Network& teacher);
  LossTerms forward(const StepInputs& inputs) override;
  std::vector<std::string> term_names() const override { return {"total", "cosine", "space"}; }

 private:
  CossParams loss_;
  Network& student_;
  Network& teacher_;
  // Linear-ReLU-Linear to the teacher's width; none when the widths are equal.
  std::unique_ptr<Linear> head_in_, head_out_;
};

}  // namespace coss
