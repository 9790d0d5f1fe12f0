// What stands between networks and losses: the student's head, the teacher's frozen pass.
#pragma once
#include <memory>
#include <vector>

#include "losses/method.h"
#include "models/projection_head.h"

namespace coss {

// The teacher's pooled features (N,F), without a tape. `stages`, when wanted, receives its feature maps.
Tensor frozen_features(Network& teacher, const Tensor& images, std::vector<Var>* stages = nullptr);
// The same behind the head of the teacher's file (MethodParts::teacher_head): its embedding (N,D).
Tensor frozen_embedding(const MethodParts& parts, const Tensor& images);

// Linear layers with ReLU between them, named "0", "2", … (PyTorch's Sequential); null where layers is 0, which wants
// in == out.
std::unique_ptr<ProjectionHead> mlp_head(const Scope& scope, int64_t layers, int64_t in, int64_t hidden, int64_t out);
// SimReg's (BMVC 2021): Linear(in,2in) BN ReLU, Linear(2in,in), Linear(in,2in) BN ReLU, Linear(2in,out).
std::unique_ptr<ProjectionHead> simreg_head(const Scope& scope, int64_t in, int64_t out);

// As the released CoSS has it, by the options head_layers and head_hidden: none for equal widths, unless it has more
// than two layers.
std::unique_ptr<ProjectionHead> coss_head(const MethodOptions& options, const MethodParts& parts);

// head(x), or x where there is none.
inline Var through(const std::unique_ptr<ProjectionHead>& head, const Var& x, Mode mode = Mode::train) {
  return head ? (*head)(x, mode) : x;
}

}  // namespace coss
