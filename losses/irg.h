// IRG (Liu et al., "Knowledge Distillation via Instance Relationship Graph", CVPR 2019) in the form of the port that is
// compared with ("one-to-one mode" of Knowledge-Distillation-Zoo): 0.1 * mean squared difference of logits (vertices),
// + 5 * mean over pooled features and the last two stages of that of squared distances between images over the largest
// one (edges), + 5 * that of the squared length of each image's way from the last stage but one to the last, over the
// longest (transformation). For the way the larger map is averaged down to the size of the other, and channels are
// averaged in groups (pairs, where their number doubles). Its clamps at 1e-12 are left out: 0 stays 0.
//
// method.maps 0 keeps to features and logits, for teachers whose stages give no maps; where widths or numbers of
// classes differ nothing is lost but the vertices, which need method.vertex_weight 0.
#pragma once
#include "losses/method.h"

namespace coss {

// Edges alone: student (N,D), teacher (N,E) of one accumulator dtype. values: {total}.
LossTerms irg_loss(const Var& student, const Tensor& teacher);
// Transformation alone: what each image's way is, student (N,D), teacher (N,E), accumulator dtype. values: {total}.
LossTerms irg_path_loss(const Var& student, const Tensor& teacher);

MethodInfo irg_method();

}  // namespace coss
