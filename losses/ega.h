// EGA (Ma et al., "Distilling Knowledge from Self-Supervised Teacher by Embedding Graph Alignment", BMVC 2022, arXiv
// 2211.13264). Both networks have a node embedding, one linear layer of 256. e(x, y) is the Pearson correlation of two
// nodes over their dimensions; E = e(X, X) of each network, N = e(X_t, X_s).
//   L = label_weight * cross-entropy + 0.8 |N - 1| + 0.24 |E_s - E_t|
// The norms are Frobenius norms, neither squared nor averaged. The teacher's embedding learns by its own classifier's
// cross-entropy and nothing else, at a constant rate: beside the student, as released, or before it
// (method.teacher_epochs). Student and teacher see crops that are drawn independently: view 0 and view 1.
//
// Differences from the program: a node without variance has correlation 0 and no gradient, and a norm of 0 has gradient
// 0, where the program divides by 0. The student's classifier stands on its features, so that the trained network is
// complete. With method.classifier_on_embedding=1 a classifier on the embedding learns, as in the program, and the
// network's own stays as it is. Nothing between features and embedding is non-linear, so both classifiers can express
// the same.
//
// Without labels (label_weight 0) nothing could teach the teacher's embedding. method.embedding=0 takes the teacher's
// features as its nodes, and a linear layer brings the student's to their width where that differs.
#pragma once
#include "losses/method.h"

namespace coss {

// The loss alone: node embeddings student, teacher (N,D) of one accumulator dtype. values: {total, nodes, edges}, the
// latter two unweighted.
LossTerms ega_loss(const EgaParams& params, const Var& student, const Tensor& teacher);

MethodInfo ega_method();

}  // namespace coss
