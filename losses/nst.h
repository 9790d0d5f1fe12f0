// NST (Huang and Wang, "Like What You Like: Knowledge Distill via Neuron Selectivity Transfer", arXiv 1707.01219) with
// the polynomial kernel (x y)^2. The channels of a map, as vectors of unit length over its positions, are samples of a
// distribution; the loss is the maximum mean discrepancy between the student's and the teacher's, averaged over images
// and summed over stages. RepDistiller (weight 50) has all three terms of the discrepancy too. No tensor of channels x
// channels x positions is made.
#pragma once
#include "losses/method.h"

namespace coss {

// The loss of one stage: student (N,H,W,C), teacher (N,H,W,D) of one compute dtype. values: {total}.
LossTerms nst_loss(const Var& student, const Tensor& teacher);

MethodInfo nst_method();

}  // namespace coss
