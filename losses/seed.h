// SEED (Fang et al., "SEED: Self-supervised Distillation For Visual Representation", ICLR 2021, arXiv 2101.04731): the
// student's similarities with a queue of the teacher's embeddings follow the teacher's.
//
// z_s and z_t are embeddings of unit length of the same view; D = [z_t, queue]. L = mean over images of the
// cross-entropy of softmax(z_s D / student_temperature) against softmax(z_t D / teacher_temperature). z_t enters the
// queue afterwards. The paper's teacher temperature is 0.01. The default here is the released code's 1e-4, which nearly
// chooses z_t alone. Products and softmax are in fp32 also in bf16 runs; under the official fp16 they are rounded
// before the division.
#pragma once
#include "losses/method.h"

namespace coss {

// The loss alone: embeddings (N,D) of any length, queue (K,D) of unit length. values: {total}
LossTerms seed_loss(const QueueContrastParams& params, const Var& student, const Tensor& teacher, const Tensor& queue);

MethodInfo seed_method();

}  // namespace coss
