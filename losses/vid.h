// VID (Ahn et al., "Variational Information Distillation for Knowledge Transfer", CVPR 2019): at each stage the student
// guesses the teacher's map, with a variance for each channel that is learned with it: a bound of the information that
// both share. Mean over all elements of ((guess - teacher)^2 / v + log v) / 2, v = log(1 + exp(spread)) + 1e-5, summed
// over stages.
//
// As in RepDistiller (weight 1): the guess is made by three 1x1 convolutions without bias, with ReLU between them and
// as many channels as the teacher's map; all variances begin at 5. The paper's own figures have a 1/2 log 2 pi in the
// loss, which changes no gradient.
#pragma once
#include "losses/method.h"

namespace coss {

// The loss of one stage: guess and teacher (N,H,W,C) of one compute dtype, spread (C) of its accumulator. values:
// {total}.
LossTerms vid_loss(const Var& guess, const Var& spread, const Tensor& teacher);

MethodInfo vid_method();

}  // namespace coss
