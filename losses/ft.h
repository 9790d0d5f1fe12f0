// FT (Kim, Park and Kwak, "Paraphrasing Complex Network: Network Compression via Factor Transfer", NeurIPS 2018). First
// a paraphraser learns the teacher's last map by reconstruction: its encoder's output is the teacher's factor, with
// fewer channels. Then a translator makes a factor of the student's last map, which follows it: mean of |difference| of
// factors of unit length.
//
// As in RepDistiller: both end in three 3x3 convolutions with LeakyReLU(0.1), the translator's with batch norm; half of
// the teacher's channels; weight 200. There a factor is the map of its mean over channels of x^2, of unit length; in
// the paper it is the factor itself (method.whole_factor=1). RepDistiller's decoder has transposed convolutions of
// stride 1, which are convolutions, and its paraphraser learns for 30 epochs before those of the student; here the
// first method.teacher_epochs of a run are its own.
#pragma once
#include "losses/method.h"

namespace coss {

// The loss alone: student and teacher (N,H,W,C) of one accumulator dtype; the channels may differ unless factors are
// taken whole. values: {total}.
LossTerms ft_loss(bool whole, const Var& student, const Tensor& teacher);

MethodInfo ft_method();

}  // namespace coss
