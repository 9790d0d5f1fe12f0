// PKT (Passalis and Tefas, "Learning Deep Representations with Probabilistic Knowledge Transfer", ECCV 2018). The
// probability of image j beside image i is (cosine of their features + 1) / 2, divided by the sum of its row. The loss
// is the mean over N^2 of p_t log((p_t + eps) / (p_s + eps)), eps = 1e-7, diagonal included. RepDistiller (weight
// 30000) does the same except for the norm: it adds eps to the norm, and here the norm is at least eps. PKT needs
// neither labels nor equal widths.
#pragma once
#include "losses/method.h"

namespace coss {

// The loss alone: student (N,D), teacher (N,E) of one accumulator dtype. values: {total}.
LossTerms pkt_loss(const Var& student, const Tensor& teacher);

MethodInfo pkt_method();

}  // namespace coss
