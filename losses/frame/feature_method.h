// The frame of methods that compare the student's pooled features, behind CoSS's head, with the teacher's: one view,
// the same for both, no labels.
#pragma once
#include <memory>

#include "losses/frame/heads.h"

namespace coss {

class FeatureMethod : public Method {
 public:
  FeatureMethod(const MethodOptions& options, const MethodParts& parts);
  LossTerms forward(const StepInputs& inputs) final;

 private:
  // student, teacher (N,D) of one dtype, never f16
  virtual LossTerms loss(const Var& student, const Tensor& teacher) const = 0;

  Network &student_, &teacher_;
  std::unique_ptr<ProjectionHead> head_;
};

// Softmax over feature dimensions has two temperatures; throws Error unless both are positive.
struct Temperatures {
  float student = 0.1f, teacher = 0.07f;
};
Temperatures temperatures_of(const MethodOptions& options);

}  // namespace coss
