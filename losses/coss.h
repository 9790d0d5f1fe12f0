// CoSS (Singh and Wang, "Simple Unsupervised Knowledge Distillation With Space Similarity", ECCV 2024): the student's
// features follow the teacher's in direction per image (rows) and per feature over the batch (columns). And SimReg
// (Navaneet et al., BMVC 2021), its rows alone behind another head.
#pragma once
#include <memory>

#include "losses/frame/heads.h"
#include "losses/method.h"

namespace coss {

// The loss alone: student, teacher (N,D) of one dtype. values: {total, cosine, space}, the latter two unscaled.
LossTerms coss_loss(const CossParams& params, const Var& student, const Tensor& teacher);

class CossMethod : public Method {
 public:
  CossMethod(const MethodOptions& options, const MethodParts& parts);
  LossTerms forward(const StepInputs& inputs) override;
  std::vector<std::string> term_names() const override { return {"total", "cosine", "space"}; }

 protected:
  CossMethod(const CossParams& loss, const MethodParts& parts, std::unique_ptr<ProjectionHead> head);

 private:
  CossParams loss_;
  Network &student_, &teacher_;
  std::unique_ptr<ProjectionHead> head_;
};

// The paper's 2 - 2 cos without its constant, mean over images, behind SimReg's head. The space term is shown only.
class SimregMethod : public CossMethod {
 public:
  SimregMethod(const MethodOptions& options, const MethodParts& parts);
};

}  // namespace coss
