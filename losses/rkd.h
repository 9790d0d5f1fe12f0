// RKD (Park et al., "Relational Knowledge Distillation", CVPR 2019): 25 * smooth L1 of the distances between images,
// each network's divided by their mean, + 50 * smooth L1 of the angles at each image of each triple; means over N^2 and
// N^3. As in RepDistiller, distances are at least 1e-6. Here no tensor of N^3 exists: everything comes from inner
// products of the centered features. Rows that differ by no more than rounding (a squared distance below 1e-6 of the
// squared lengths) count as equal. They make no angle, and no gradient passes their distance, where RepDistiller has
// one of 1e12.
#pragma once
#include "losses/method.h"

namespace coss {

// The loss alone: student (N,D), teacher (N,E) of one accumulator dtype. values: {total, distance, angle}, the latter
// two unweighted.
LossTerms rkd_loss(const RkdParams& params, const Var& student, const Tensor& teacher);

MethodInfo rkd_method();

}  // namespace coss
