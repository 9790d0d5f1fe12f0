// FitNet (Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015), as RepDistiller trains it, in one stage with
// the labels: a regressor (convolution, batch norm, ReLU) takes the student's map of one stage to the teacher's
// channels; mean of the squared differences. Weight 100, stage 2. The paper trains the regressor and the layers before
// it first; RepDistiller's bias of the convolution, which the norm takes away again, is left out.
//
// With layer 0 the pooled features are compared instead: EGA's comparison (BMVC 2022) takes linear embeddings of 256
// numbers on both sides, the teacher's trained by its own classification at the same time, and weight 1.
#pragma once
#include "losses/method.h"

namespace coss {

MethodInfo fitnet_method();

}  // namespace coss
