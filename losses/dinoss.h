// `dinoss` of the CoSS code (paganpasta/coss-pytorch): `dino` (losses/dino.h) plus 0.5 times the same loss on the
// transposed matrices, where the images of the batch are the classes of each feature dimension. This is space
// similarity by softmax. Nothing differs from that code.
#pragma once
#include "losses/frame/feature_method.h"

namespace coss {

// student, teacher (N,D) of one dtype; values: {total, row, column}, the latter two unweighted.
LossTerms dinoss_loss(const Temperatures& temperatures, float column_weight, const Var& student, const Tensor& teacher);

MethodInfo dinoss_method();

}  // namespace coss
