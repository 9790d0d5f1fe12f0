// BINGO (Xu et al., "Bag of Instances Aggregation Boosts Self-supervised Distillation", ICLR 2022, arXiv 2107.01691):
// images that the teacher finds alike form a bag, and the student's embedding of one image follows the teacher's
// embedding of another in its bag.
//
// A batch is anchors, each followed by one mined neighbor (neighbors.nearest = 1). From view 0 the student makes q of
// the anchors, q_p of the neighbors and q_m of their CutMix. From view 1 the teacher makes the keys k and k_p. Let
// CE(a; b) be InfoNCE of a with the partner b against the queue of the teacher's earlier keys of anchors:
//
//   L = 1/3 [ w_0 (CE(q; k) + CE(q_p; k_p)) + w_1 (CE(q; k_p) + CE(q_p; k)) + s CE(q_m; k) + (1 - s) CE(q_m; k_p) ]
//
// s is the anchor's share of the mixed image. (w_0, w_1) is (1, 0) in the first `intra_epochs` epochs, then (1/2, 1/2).
// As in the released code the student runs three times, so that batch norm sees each kind of image by itself. The
// official code leaves the frozen teacher in train mode; here the teacher uses its running statistics.
#pragma once
#include "losses/method.h"

namespace coss {

// How much each loss counts; (1) each, on the device.
struct BingoWeights {
  Tensor own, other;  // w_0, w_1
  Tensor share;       // s
};
// The loss alone: anchors, neighbors, mixed (N,D) of the student on the tape; keys (N,D) of the teacher's anchors and
// neighbors; queue (K,D); rows of unit length in the accumulator's dtype. values: {total, own, other, mixed}, the
// latter means over what they compare.
LossTerms bingo_loss(float temperature, const BingoWeights& weights, const Var& anchors, const Var& neighbors,
                     const Var& mixed, const Tensor& anchor_keys, const Tensor& neighbor_keys, const Tensor& queue);

MethodInfo bingo_method();

}  // namespace coss
