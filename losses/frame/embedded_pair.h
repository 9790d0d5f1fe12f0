// EmbeddedPair: both networks as EGA's program has them for every loss that it compares: a linear embedding behind
// each, the teacher's trained beside the student by a classifier of its own and nothing else. With method.embedding 0
// there is nothing on the teacher's side: the student has a linear head where the widths differ, and the teacher's
// logits are its own.
#pragma once
#include <memory>

#include "layers/linear.h"
#include "losses/frame/heads.h"
#include "losses/method.h"

namespace coss {

class EmbeddedPair {
 public:
  EmbeddedPair(const MethodOptions& options, const MethodParts& parts);

  struct Output {
    Var features, student, logits;   // the student's: backbone (N,F), embedding (N,D), classifier
    Tensor teacher, teacher_logits;  // no tape; the logits are empty where the teacher has none
    Var labels;                      // both networks' cross-entropies, where the teacher's embedding learns
    Tensor classification, teacher_classification;  // each by itself
  };
  Output operator()(const StepInputs& inputs);

  void prepare(Device device, DType compute, uint64_t seed);
  Params* companion() { return embedding_ ? &params_ : nullptr; }
  bool learns() const { return embedding_ != nullptr; }
  int64_t teacher_classes() const { return embedding_ ? classes_ : teacher_.classes; }

 private:
  Network &student_, &teacher_;
  int64_t classes_;
  std::unique_ptr<ProjectionHead> head_;
  Params params_;  // of the two below
  std::unique_ptr<Linear> embedding_, classifier_;
};

}  // namespace coss
