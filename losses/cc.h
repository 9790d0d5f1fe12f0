// CC (Peng et al., "Correlation Congruence for Knowledge Distillation", ICCV 2019), in the form that its authors gave
// to RepDistiller. Both sides have an embedding of 128 numbers, trained with the student. With delta = |student -
// teacher|, the loss is the mean over images i < N - 1 of sum_d delta_i * delta_i+1. The congruence of kernel matrices
// in the paper is another loss; the published figures are of this one.
#pragma once
#include "losses/method.h"

namespace coss {

// The loss alone: student, teacher (N,D) of one accumulator dtype; both get a gradient. values: {total}.
LossTerms cc_loss(const Var& student, const Var& teacher);

MethodInfo cc_method();

}  // namespace coss
