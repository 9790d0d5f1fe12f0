// EmbeddedPair: a linear embedding behind each network, as EGA (BMVC 2022) has it for every loss that it compares. The
// teacher's embedding is trained beside the student by a classifier of its own and nothing else. With
// method.embedding=0 the teacher has no embedding: the student has a linear head where the widths differ, and the
// teacher's logits are those of its own classifier.
#pragma once
#include <memory>

#include "layers/linear.h"
#include "losses/frame/companion.h"
#include "losses/frame/heads.h"

namespace coss {

struct EmbeddingOptions {
  bool teacher_view = false;
  int64_t width = 0;  // method.embedding
  CompanionOptions companion = {};

  void list(OptionList& row, const char* width_help);
};

class EmbeddedPair {
 public:
  // The first values of the teacher's layers follow from the run's seed and `stream`.
  EmbeddedPair(const EmbeddingOptions& options, const MethodParts& parts, uint64_t stream = 0x6e6365);

  struct Teacher {
    Tensor features;   // (N,F) of the backbone
    Tensor embedding;  // (N,D) in the accumulator's dtype; the features where there is no embedding
    Tensor logits;     // of the embedding's classifier; empty where there is none
    Var label;         // its cross-entropy; empty where there is none
  };
  struct Student {
    Var features, embedding;  // (N,F) of the backbone, (N,D)
  };
  // What the teacher gives for the last view. `label` alone is on the tape, and only where the embedding learns.
  Teacher teacher(const StepInputs& inputs, bool learns = true) const;
  Student student(const StepInputs& inputs) const;  // for the first view

  // Both sides, for a loss.
  struct Output {
    Var features, student;  // of the student: (N,F) of the backbone, (N,D) in the accumulator's dtype
    Var logits, label;      // of the student's classifier: (N,K), cross-entropy
    Teacher teacher;
    Var labels;  // the cross-entropies of both sides
  };
  Output operator()(const StepInputs& inputs) const;
  // (N,K) of the embedding's classifier, or of the teacher's own where there is no embedding.
  Tensor teacher_logits(const Teacher& seen) const;
  int64_t teacher_classes() const { return embedding_ ? classes_ : teacher_.classes; }

  void prepare(Device device, DType compute, uint64_t seed);
  Params* companion() { return embedding_ ? &params_ : nullptr; }
  bool learns() const { return embedding_ != nullptr; }

 private:
  Network &student_, &teacher_;
  int64_t classes_;
  uint64_t stream_;
  std::unique_ptr<ProjectionHead> head_;
  Params params_;  // of the two below
  std::unique_ptr<Linear> embedding_, classifier_;
};

}  // namespace coss
