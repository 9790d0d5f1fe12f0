// MoCo v2 (Chen et al., "Improved Baselines with Momentum Contrastive Learning", arXiv 2003.04297): pre-training
// without a teacher. DisCo (Gao et al., "DisCo: Remedy Self-supervised Learning on Lightweight Models with Distilled
// Contrastive Learning", ECCV 2022, arXiv 2104.09124) adds a teacher's embeddings to it.
//
// MoCo v2: q = student(view 1), k = twin(view 2), both through a head and of unit length;
// L = mean of -log(exp(q k / t) / (exp(q k / t) + sum over the queue of exp(q d / t))). k enters the queue afterwards.
// DisCo: L + weight * (|q - t_1|^2 + |q_2 - t_2|^2), means over images, where q_2 = student(view 2) and t_1, t_2 are
// the teacher's embeddings of both views. The official code sums over the images of one GPU, which are 32 in the
// released runs; hence the default weight. It leaves the frozen teacher in train mode; here the teacher uses its
// running statistics. Shuffled batch norm, which is for several GPUs, has no counterpart: a process has one batch.
#pragma once
#include "losses/method.h"

namespace coss {

// InfoNCE alone: embeddings (N,D) of any length, queue (K,D) of unit length. values: {total}
LossTerms info_nce_loss(float temperature, const Var& query, const Tensor& key, const Tensor& queue);
// Mean over rows of the squared distance of both as unit vectors. -> (1)
Var unit_distance_loss(const Var& student, const Tensor& teacher);

MethodInfo moco_v2_method();
MethodInfo disco_method();

}  // namespace coss
