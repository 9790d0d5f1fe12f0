// Knowledge distillation (Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015): the
// student's softened class probabilities follow the teacher's, beside the labels.
//
// As in RepDistiller: label_weight * cross-entropy + distill_weight * T^2 KL(softmax(t / T) ; softmax(s / T)), mean
// over the batch. Nothing differs from that code. With method.embedding both networks get a linear embedding, and the
// teacher a classifier behind it that is trained beside the student, as EGA (BMVC 2022) compares itself with KD.
#pragma once
#include "losses/method.h"

namespace coss {

// T^2 times the divergence, mean over rows: student, teacher logits (N,K) of one dtype.
LossTerms kd_loss(float temperature, const Var& student, const Tensor& teacher);

MethodInfo kd_method();

}  // namespace coss
