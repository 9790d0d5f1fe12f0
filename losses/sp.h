// SP (Tung and Mori, "Similarity-Preserving Knowledge Distillation", ICCV 2019): G = F F^T over the flattened maps of
// the last stage, its rows of unit length; the sum of (G_s - G_t)^2 over N^2. As in RepDistiller, whose weight is 3000;
// the widths of the maps may differ. A network without maps (a transformer) gives its pooled features.
#pragma once
#include "losses/method.h"

namespace coss {

// The loss alone: student (N,D), teacher (N,E) of one accumulator dtype. values: {total}.
LossTerms sp_loss(const Var& student, const Tensor& teacher);

MethodInfo sp_method();

}  // namespace coss
