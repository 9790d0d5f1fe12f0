// FitNet (Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015), as RepDistiller trains it, in one stage with
// the labels. A regressor (convolution, batch norm, ReLU) takes the student's map of one stage to the teacher's
// channels; the loss is the mean of the squared differences. Weight 100, stage 2. The paper trains the regressor and
// the layers before it first. RepDistiller's convolution has a bias, which has no effect before batch norm; here it has
// none.
//
// With layer 0 the pooled features are compared instead. EGA (BMVC 2022) does so with linear embeddings of 256 numbers
// on both sides and weight 1; the teacher's embedding is trained by its own classification at the same time.
#pragma once
#include "losses/method.h"

namespace coss {

MethodInfo fitnet_method();

}  // namespace coss
