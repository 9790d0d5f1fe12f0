// PKT (Passalis and Tefas, "Learning Deep Representations with Probabilistic Knowledge Transfer", ECCV 2018): the
// probability of image j beside image i is (cosine of their features + 1) / 2 over the sum of its row; mean over N^2 of
// p_t log((p_t + eps) / (p_s + eps)), eps = 1e-7, diagonal included. As in RepDistiller, whose weight is 30000, but for
// the norm: it adds eps to it, here it is at least eps. Needs neither labels nor equal widths.
#pragma once
#include "losses/method.h"

namespace coss {

// The loss alone: student (N,D), teacher (N,E) of one accumulator dtype. values: {total}.
LossTerms pkt_loss(const Var& student, const Tensor& teacher);

MethodInfo pkt_method();

}  // namespace coss
