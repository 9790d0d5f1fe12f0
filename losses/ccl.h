// CCL (Chen et al., "Distilling Audio-Visual Knowledge by Compositional Contrastive Learning", CVPR 2021), as EGA (BMVC
// 2022) compares itself with it: NCE with labels, plus the symmetric divergence of the class probabilities, (KL(p_t,
// p_s) + KL(p_s, p_t)) / 2 at temperature 1. EGA's program calls the latter a Jensen-Shannon divergence, which it is
// not, and leaves the paper's composition out. As there, the divergence teaches the student alone.
#pragma once
#include "losses/method.h"

namespace coss {

MethodInfo ccl_method();

}  // namespace coss
