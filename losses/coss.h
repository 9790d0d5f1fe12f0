// CoSS (Singh and Wang, "Simple Unsupervised Knowledge Distillation With Space Similarity", ECCV 2024): the student's
// features follow the teacher's in direction, both per image (rows) and per feature over the batch (columns). SimReg
// (Navaneet et al., BMVC 2021) has the rows alone, behind another head.
#pragma once
#include "losses/method.h"

namespace coss {

// The loss alone: student, teacher (N,D) of one dtype. values: {total, cosine, space}, the latter two unscaled.
LossTerms coss_loss(const CossParams& params, const Var& student, const Tensor& teacher);

MethodInfo coss_method();
MethodInfo simreg_method();

}  // namespace coss
