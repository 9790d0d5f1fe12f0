// BYOL (Grill et al., "Bootstrap Your Own Latent", NeurIPS 2020, arXiv 2006.07733): pre-training without a teacher and
// without negatives. The online network projects one view, and a predictor behind it guesses how an averaged copy of
// the network, the target, projects the other view.
//
//   L = mean over images of -2 cos(predictor(z_1), z'_2) - 2 cos(predictor(z_2), z'_1)
//
// This is the paper's 2 - 2 cos in both directions without its constant 4. The target's momentum rises by a cosine from
// `momentum` to 1 at the end of the run. As in the paper, the two views pass through the network one after the other.
// The paper updates with LARS at batch 4096 on many devices and takes batch norm over all of them.
#pragma once
#include "losses/method.h"

namespace coss {

// The loss alone: predictions (N,D) of both views on the tape, targets (N,D) of the other's. values: {total, first,
// second}.
LossTerms byol_loss(const Var& first, const Tensor& second_target, const Var& second, const Tensor& first_target);

MethodInfo byol_method();

}  // namespace coss
