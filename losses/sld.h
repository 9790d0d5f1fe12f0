// SLD, soft-label distillation: knowledge distillation (losses/kd.h) without labels, as the CoSS paper (ECCV 2024) and
// the code before it compare with it: T^2 KL of the softened class probabilities, weight 1, T = 4.
//
// Both networks need a classifier of the same classes.
#pragma once
#include "losses/method.h"

namespace coss {

MethodInfo sld_method();

}  // namespace coss
