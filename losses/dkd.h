// DKD (Zhao et al., "Decoupled Knowledge Distillation", CVPR 2022): KD's divergence is split into that of the target
// class against all others together and that among the others. Each has its own weight, beside the labels.
//
// As in mdistiller: cross_entropy_weight * CE + warm-up * T^2 * (1 * target + 8 * others), T = 4. Two things differ.
// The warm-up over the first 20 epochs grows with every update, not from epoch to epoch (its mean over an epoch is the
// same). And the target class is left out of the others exactly, not by subtracting 1000 from its logit.
#pragma once
#include "losses/method.h"

namespace coss {

// student, teacher logits (N,K > 1) of one dtype, labels (N) i32, rows with negative ones are skipped.
// values: {total, target class, other classes}, the latter two unweighted, all times temperature^2.
LossTerms dkd_loss(const DkdParams& params, const Var& student, const Tensor& teacher, const Tensor& labels);

MethodInfo dkd_method();

}  // namespace coss
