// What the losses over relations between the rows of a batch share.
#pragma once
#include <functional>
#include <string>

#include "losses/nce.h"

namespace coss {

// x (N,D) less the mean of its rows: distances and angles stay as they are, and their inner products keep more digits.
Var centered_over_batch(const Var& x);
// x (N,…) -> (N,D) in the accumulator's dtype.
Var flat_rows(const Var& x);
// Throws Error unless student and teacher are matrices of as many rows and one accumulator dtype, naming the loss.
void check_same_rows(const char* loss, const Tensor& student, const Tensor& teacher);

// A relation between embeddings of both sides, as EGA (BMVC 2022) compares itself with: label_weight * cross-entropy +
// weight * relation. The teacher's embedding learns beside the student from labels alone.
class EmbeddedRelation : public Method {
 public:
  using Relation = std::function<Var(const EmbeddedPair::Output&)>;
  // Throws Error where an option is negative or no label teaches; `term` names the relation.
  EmbeddedRelation(const char* term, const MethodOptions& options, const MethodParts& parts, Relation relation);
  LossTerms forward(const StepInputs& inputs) override;
  std::vector<std::string> term_names() const override { return {"total", term_, "label"}; }
  void prepare(Device device, DType compute, uint64_t seed) override { networks_.prepare(device, compute, seed); }
  Params* companion() override { return networks_.companion(); }

 private:
  const char* term_;
  EmbeddedPair networks_;
  Relation relation_;
  float weight_, label_weight_;
};

}  // namespace coss
