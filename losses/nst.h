// NST (Huang and Wang, "Like What You Like: Knowledge Distill via Neuron Selectivity Transfer", arXiv 1707.01219) with
// the polynomial kernel (x y)^2: the channels of a map, as vectors over its positions of unit length, are samples of
// two distributions whose maximum mean discrepancy is the loss; mean over images, summed over stages. As in
// RepDistiller (weight 50), which has all three terms of the discrepancy; no tensor of channels x channels x positions.
#pragma once
#include "losses/method.h"

namespace coss {

// The loss of one stage: student (N,H,W,C), teacher (N,H,W,D) of one compute dtype. values: {total}.
LossTerms nst_loss(const Var& student, const Tensor& teacher);

MethodInfo nst_method();

}  // namespace coss
