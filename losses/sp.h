// SP (Tung and Mori, "Similarity-Preserving Knowledge Distillation", ICCV 2019): G = F F^T over the flattened maps of
// the last stage, with rows scaled to unit length; the loss is the sum of (G_s - G_t)^2 over N^2. RepDistiller (weight
// 3000) does the same. The widths of the maps may differ. Of a network without maps (a transformer) the pooled features
// are taken.
#pragma once
#include "losses/method.h"

namespace coss {

// The loss alone: student (N,D), teacher (N,E) of one accumulator dtype. values: {total}.
LossTerms sp_loss(const Var& student, const Tensor& teacher);

MethodInfo sp_method();

}  // namespace coss
