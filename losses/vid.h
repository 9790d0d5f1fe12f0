// VID (Ahn et al., "Variational Information Distillation for Knowledge Transfer", CVPR 2019): at each stage the student
// guesses the teacher's map, and a variance for each channel is learned with the guess. The loss bounds the information
// that both networks share: mean over all elements of ((guess - teacher)^2 / v + log v) / 2, v = log(1 + exp(spread)) +
// 1e-5, summed over stages.
//
// As in RepDistiller (weight 1), three 1x1 convolutions without bias make the guess, with ReLU between them and as many
// channels as the teacher's map; all variances begin at 5. The loss in the paper also has 1/2 log 2 pi, which changes
// no gradient.
#pragma once
#include "losses/method.h"

namespace coss {

// The loss of one stage: guess and teacher (N,H,W,C) of one compute dtype, spread (C) of its accumulator. values:
// {total}.
LossTerms vid_loss(const Var& guess, const Var& spread, const Tensor& teacher);

MethodInfo vid_method();

}  // namespace coss
