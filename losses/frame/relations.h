// What the losses over relations between the rows of a batch share.
#pragma once
#include <functional>
#include <string>

#include "losses/frame/embedded_pair.h"
#include "losses/frame/labels.h"

namespace coss {

// x (N,D) less the mean of its rows. Distances and angles stay the same, and inner products lose fewer digits.
Var centered_over_batch(const Var& x);
// x (N,…) -> (N,D) in the accumulator's dtype.
Var flat_rows(const Var& x);
// Throws Error unless student and teacher are matrices of as many rows and one accumulator dtype, naming the loss.
void check_same_rows(const char* loss, const Tensor& student, const Tensor& teacher);

// A relation between the embeddings of both sides (EmbeddedPair): label_weight * cross-entropies + weight * relation.
class EmbeddedRelation : public Method {
 public:
  using Relation = std::function<Var(const EmbeddedPair::Output&)>;
  // `term` names the relation. Throws Error where label_weight is 0, since then no label teaches the embeddings.
  EmbeddedRelation(const char* term, const LabeledOptions& weights, const EmbeddingOptions& embedding,
                   const MethodParts& parts, Relation relation);
  LossTerms forward(const StepInputs& inputs) override;
  std::vector<std::string> term_names() const override { return {"total", term_, "label"}; }
  void prepare(Device device, DType compute, uint64_t seed) override { networks_.prepare(device, compute, seed); }
  Params* companion() override { return networks_.companion(); }

 private:
  const char* term_;
  LabeledOptions weights_;
  EmbeddedPair networks_;
  Relation relation_;
};
// Throws Error where label_weight is 0: an embedding on the teacher's side learns from labels alone.
void check_labels_teach(float label_weight);

}  // namespace coss
