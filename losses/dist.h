// DIST (Huang et al., "Knowledge Distillation from A Stronger Teacher", NeurIPS 2022) over feature dimensions, as the
// CoSS code compares with it. One softmax over each row makes probabilities of the student's and the teacher's
// features, and loss = row_weight * (1 - mean Pearson correlation of rows) + column_weight * (1 - that of columns).
//
// This is the paper's form. The CoSS code differs from it by mistake: it passes the teacher as the student, so that the
// temperatures are exchanged, and takes a second softmax of the transposed matrices for the columns.
#pragma once
#include "losses/frame/feature_method.h"

namespace coss {

struct DistParams {
  Temperatures temperatures = {};
  float row_weight = 1, column_weight = 1;
};

// student, teacher (N,D) of one dtype; values: {total, row, column}, the latter two unweighted. A constant vector has
// correlation 0 with any other.
LossTerms dist_loss(const DistParams& params, const Var& student, const Tensor& teacher);

MethodInfo dist_method();

}  // namespace coss
