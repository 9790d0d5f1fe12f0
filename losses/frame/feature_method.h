// The frame of methods that compare the student's pooled features, behind CoSS's head, with the teacher's. Both
// networks see the same view; there are no labels.
#pragma once
#include <memory>

#include "losses/frame/heads.h"

namespace coss {

class FeatureMethod : public Method {
 public:
  FeatureMethod(const HeadOptions& head, const MethodParts& parts);
  LossTerms forward(const StepInputs& inputs) final;

 private:
  // student, teacher (N,D) of one dtype, never f16
  virtual LossTerms loss(const Var& student, const Tensor& teacher) const = 0;

  Network &student_, &teacher_;
  std::unique_ptr<ProjectionHead> head_;
};

// Temperatures of the softmax over feature dimensions.
struct Temperatures {
  float student = 0.1f, teacher = 0.07f;

  void list(OptionList& row) {
    row.positive("student_temperature", student, "temperature of the softmax over the student's features");
    row.positive("teacher_temperature", teacher, "temperature of the softmax over the teacher's features");
  }
};

}  // namespace coss
