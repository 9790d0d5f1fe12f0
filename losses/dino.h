// `dino` of the CoSS code (paganpasta/coss-pytorch): DINO's cross-entropy (Caron et al., ICCV 2021) as a distillation
// loss. The feature dimensions are the classes: mean over rows of -sum softmax(t / 0.07) log softmax(s / 0.1), of raw
// features, without centering and without an averaged network. Nothing differs from that code.
#pragma once
#include "losses/frame/feature_method.h"

namespace coss {

// student, teacher (N,D) of one dtype
LossTerms dino_loss(const Temperatures& temperatures, const Var& student, const Tensor& teacher);

MethodInfo dino_method();

}  // namespace coss
