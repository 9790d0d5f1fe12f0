// FT (Kim, Park and Kwak, "Paraphrasing Complex Network: Network Compression via Factor Transfer", NeurIPS 2018). First
// a paraphraser learns to reconstruct the teacher's last map; the output of its encoder is the teacher's factor, which
// has fewer channels. Then a translator makes a factor of the student's last map, and this follows the teacher's: the
// loss is the mean of |difference| of factors of unit length.
//
// As in RepDistiller, both end in three 3x3 convolutions with LeakyReLU(0.1), the translator's with batch norm; the
// factor has half of the teacher's channels; the weight is 200. RepDistiller compares the mean over channels of x^2, of
// unit length; the paper compares the factor itself (method.whole_factor=1). RepDistiller's decoder has transposed
// convolutions of stride 1, which are convolutions, and its paraphraser learns for 30 epochs before those of the
// student; here it learns in the first method.teacher_epochs of the run.
#pragma once
#include "losses/method.h"

namespace coss {

// The loss alone: student and teacher (N,H,W,C) of one accumulator dtype; the channels may differ unless factors are
// taken whole. values: {total}.
LossTerms ft_loss(bool whole, const Var& student, const Tensor& teacher);

MethodInfo ft_method();

}  // namespace coss
