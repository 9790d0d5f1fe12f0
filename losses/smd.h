// SMD (Liu and Ye, "Improving Self-supervised Lightweight Model Learning via Hard-Aware Metric Distillation", ECCV
// 2022), as released. With rows of unit length, d_t are the distances within the teacher and d those of teacher rows to
// student rows. Image j is a negative of anchor i where d_t[i,j] > d[i,i]. Of the negatives the one with the least d is
// chosen, of the others the one with the greatest. The loss is the cross-entropy for the former over {[d_t - d]+ d /
// tau, [d - d_t]+ d / tau}, where the brackets are constants in the gradient. It is averaged over two views; in the
// first epochs -cos is added.
//
// As in the program distances are at least 1e-6, and an anchor without negatives has 0 in place of the first number.
// The distance of an anchor to itself is 1e-6; in the program it is what rounding leaves.
#pragma once
#include "losses/method.h"

namespace coss {

// The loss alone: student, teacher (N,D) of one accumulator dtype, of any length; cosine_weight (1) of that dtype.
// values: {distance + cosine_weight * cosine, distance, cosine}, cosine = -mean cos of the own pairs.
LossTerms smd_loss(float temperature, const Tensor& cosine_weight, const Var& student, const Tensor& teacher);

MethodInfo smd_method();

}  // namespace coss
