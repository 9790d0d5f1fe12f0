// SMD (Liu and Ye, "Improving Self-supervised Lightweight Model Learning via Hard-Aware Metric Distillation", ECCV
// 2022), as released: with rows of unit length, d_t = distances within the teacher and d = distances of teacher rows to
// student rows, image j is a negative of anchor i where d_t[i,j] > d[i,i]. Of the negatives the one with the least d,
// of the others the one with the greatest: cross-entropy for the former over {[d_t - d]+ d / tau, [d - d_t]+ d / tau},
// where the brackets are constants in the gradient. Two views, averaged; in the first epochs -cos is added.
//
// As in the program distances are at least 1e-6, and an anchor without negatives has 0 in place of the first number. An
// anchor's distance to itself is that least one (the program's is what rounding leaves).
#pragma once
#include "losses/method.h"

namespace coss {

// The loss alone: student, teacher (N,D) of one accumulator dtype, of any length; cosine_weight (1) of that dtype.
// values: {distance + cosine_weight * cosine, distance, cosine}, cosine = -mean cos of the own pairs.
LossTerms smd_loss(float temperature, const Tensor& cosine_weight, const Var& student, const Tensor& teacher);

MethodInfo smd_method();

}  // namespace coss
