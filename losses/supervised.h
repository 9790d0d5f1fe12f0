// Supervised training of the student alone: cross-entropy with the labels.
#pragma once
#include "losses/method.h"

namespace coss {

class SupervisedMethod : public Method {
 public:
  explicit SupervisedMethod(Network& student) : student_(student) {}
  LossTerms forward(const StepInputs& inputs) override;
  std::vector<std::string> term_names() const override { return {"total"}; }

 private:
  Network& student_;
};

}  // namespace coss
