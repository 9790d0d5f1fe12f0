// IRG (Liu et al., "Knowledge Distillation via Instance Relationship Graph", CVPR 2019), in the form of the port that
// it is compared with ("one-to-one mode" of Knowledge-Distillation-Zoo). The loss is the sum of
// - vertices: 0.1 * the mean squared difference of logits;
// - edges: 5 * the mean squared difference of the squared distances between images, each over the largest one,
//   averaged over the pooled features and the last two stages;
// - transformation: 5 * the mean squared difference of the squared length of each image's way from the last stage but
//   one to the last, each over the longest.
// For the way, the larger map is averaged down to the size of the other, and channels are averaged in groups (in pairs
// where their number doubles). The port's clamps at 1e-12 are left out: 0 stays 0.
//
// With method.maps=0 only features and logits are compared, for teachers whose stages give no maps. Networks of
// different widths or numbers of classes can be compared by all but the vertices, which need method.vertex_weight=0.
#pragma once
#include "losses/method.h"

namespace coss {

// Edges alone: student (N,D), teacher (N,E) of one accumulator dtype. values: {total}.
LossTerms irg_loss(const Var& student, const Tensor& teacher);
// Transformation alone: each image's way, student (N,D), teacher (N,E) of one accumulator dtype. values: {total}.
LossTerms irg_path_loss(const Var& student, const Tensor& teacher);

MethodInfo irg_method();

}  // namespace coss
