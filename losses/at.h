// AT (Zagoruyko and Komodakis, "Paying More Attention to Attention", ICLR 2017), activation-based: at each stage the
// map of the mean over channels of x^2, of unit length for each image, follows the teacher's; mean of the squared
// differences, summed over stages. As in the paper's code and RepDistiller, whose weight is 1000; the paper's equation
// has the length of the difference instead.
#pragma once
#include "losses/method.h"

namespace coss {

// The loss of one stage: student (N,H,W,C), teacher (N,H,W,D) of one compute dtype. values: {total}.
LossTerms at_loss(const Var& student, const Tensor& teacher);

MethodInfo at_method();

}  // namespace coss
