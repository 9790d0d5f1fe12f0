// What stands between networks and losses: the student's head, the teacher's frozen pass.
#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "losses/method.h"
#include "models/projection_head.h"

namespace coss {

// The teacher's pooled features (N,F), without a tape. `stages`, when wanted, receives its feature maps.
Tensor frozen_features(Network& teacher, const Tensor& images, std::vector<Var>* stages = nullptr);

// The options teacher_head and dim: whether the head of the teacher's file gives embeddings, and of what width.
struct TeacherHeadOptions {
  bool wanted = true;
  int64_t dim = 128;

  void list(OptionList& row) {
    row.flag("teacher_head", wanted, "the head of the teacher's file gives embeddings; else its features are taken");
    row.count("dim", dim, "columns that the teacher's head gives");
  }
};

// The teacher and, where it is wanted, the head of its file behind it. Neither learns.
class FrozenTeacher {
 public:
  FrozenTeacher(const TeacherHeadOptions& options, const MethodParts& parts);

  struct Seen {
    Tensor features, embedding;  // (N,F), (N,width)
  };
  // Throws Error where the head has another width than method.dim.
  Seen operator()(const Tensor& images) const;

  const int64_t width;

 private:
  Network& teacher_;
  std::function<Var(const Var&)> head_;  // empty where the features are the embedding
};

// Linear layers with ReLU between them, named "0", "2", … (PyTorch's Sequential); null where layers is 0, which wants
// in == out.
std::unique_ptr<ProjectionHead> mlp_head(const Scope& scope, int64_t layers, int64_t in, int64_t hidden, int64_t out);
// SimReg's (BMVC 2021): Linear(in,2in) BN ReLU, Linear(2in,in), Linear(in,2in) BN ReLU, Linear(2in,out).
std::unique_ptr<ProjectionHead> simreg_head(const Scope& scope, int64_t in, int64_t out);

// The head of the released CoSS: none for equal widths, unless it has more than two layers.
struct HeadOptions {
  int64_t layers = 2, hidden = 2048;

  void list(OptionList& row) {
    row.count("head_layers", layers,
              "layers of the student's head, which is there where the widths differ or it has more than 2; 0: none",
              /*least=*/0);
    row.count("head_hidden", hidden, "width of the hidden layers of the student's head");
  }
};
std::unique_ptr<ProjectionHead> coss_head(const HeadOptions& options, const MethodParts& parts);

// head(x), or x where there is none.
inline Var through(const std::unique_ptr<ProjectionHead>& head, const Var& x, Mode mode = Mode::train) {
  return head ? (*head)(x, mode) : x;
}

}  // namespace coss
