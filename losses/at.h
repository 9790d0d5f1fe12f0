// AT (Zagoruyko and Komodakis, "Paying More Attention to Attention", ICLR 2017), in its form for activations. The
// attention map of a stage is the mean over channels of x^2, scaled to unit length for each image. The loss is the mean
// of the squared differences between the student's map and the teacher's, summed over stages. The paper's code and
// RepDistiller (weight 1000) do the same. The paper's equation has the length of the difference instead.
#pragma once
#include "losses/method.h"

namespace coss {

// The loss of one stage: student (N,H,W,C), teacher (N,H,W,D) of one compute dtype. values: {total}.
LossTerms at_loss(const Var& student, const Tensor& teacher);

MethodInfo at_method();

}  // namespace coss
