// BYOL (Grill et al., "Bootstrap Your Own Latent", NeurIPS 2020, arXiv 2006.07733): pre-training without a teacher and
// without negatives. A predictor behind the online network's projection of one view guesses the projection that an
// averaged copy of the network, the target, makes of the other.
//
//   L = mean over images of -2 cos(predictor(z_1), z'_2) - 2 cos(predictor(z_2), z'_1)
//
// which is the paper's 2 - 2 cos both ways without its constant 4. The target's momentum rises by a cosine from
// `momentum` to 1 at the end of the run. The paper updates with LARS at batch 4096 on many devices, with batch norm
// over all of them; the two views pass through the network one after the other, as there.
#pragma once
#include "losses/method.h"

namespace coss {

// The loss alone: predictions (N,D) of both views on the tape, targets (N,D) of the other's. values: {total, first,
// second}.
LossTerms byol_loss(const Var& first, const Tensor& second_target, const Var& second, const Tensor& first_target);

MethodInfo byol_method();

}  // namespace coss
