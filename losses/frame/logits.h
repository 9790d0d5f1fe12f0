// What methods that compare logits share: one pass through both networks and their classifiers.
#pragma once
#include "losses/method.h"

namespace coss {

struct LogitPair {
  Var student;                                // (N,K) of the student, f16 widened
  Tensor teacher;                             // (N,K), without a tape
  Tensor student_features, teacher_features;  // for LossTerms
};

// Throws Error unless both networks have a classifier and the same number of classes.
void check_classifiers(const std::string& method, const MethodParts& parts);

LogitPair logits_of(Network& student, Network& teacher, const StepInputs& inputs);

}  // namespace coss
