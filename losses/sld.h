// SLD, soft-label distillation: knowledge distillation (losses/kd.h) with no labels at all, as the CoSS paper (ECCV
// 2024) and its precursor's code compare with it: T^2 KL of the softened class probabilities, weight 1, T = 4.
//
// Both networks need a classifier of the same classes; a teacher without one has no soft labels to give.
#pragma once
#include "losses/method.h"

namespace coss {

MethodInfo sld_method();

}  // namespace coss
