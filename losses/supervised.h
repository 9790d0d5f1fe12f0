// Supervised training of the student alone: cross-entropy with the labels.
#pragma once
#include "losses/method.h"

namespace coss {

class SupervisedMethod : public Method {
 public:
  SupervisedMethod(const MethodOptions&, const MethodParts& parts) : student_(parts.student) {}
  LossTerms forward(const StepInputs& inputs) override;
  std::vector<std::string> term_names() const override { return {"total"}; }

 private:
  Network& student_;
};

}  // namespace coss
