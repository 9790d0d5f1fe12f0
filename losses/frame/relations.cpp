// Centering over the batch, rows of maps, embeddings on both sides.
#include "losses/frame/relations.h"

#include "autograd/ops.h"
#include "losses/frame/fused.h"

namespace coss {

namespace {

Tensor centered(const Tensor& x) {
  const int64_t rows = x.shape()[0], width = x.shape()[1];
  const Kernels& k = kernels(x);
  Context& ctx = context(x.device());
  Tensor sum({width}, x.dtype(), x.device()), shift({1, width}, x.dtype(), x.device());
  k.sum_rows(ctx, 0, x, sum);
  k.fill(ctx, 0, shift);
  k.axpy(ctx, -1.0f / float(rows), sum, shift);
  Tensor y({rows, 1, width}, x.dtype(), x.device());
  k.join_tokens_forward(ctx, {}, x.reshape({rows, 1, width}), shift, y);
  return y.reshape(x.shape());
}

}  // namespace

Var centered_over_batch(const Var& x) {
  Var y = make_output(centered(x.value), {&x});
  if (y.grad) Tape::active()->record(y, [x = grad_only(x)](const Tensor& dy) { accumulate(x, centered(dy)); });
  return y;
}

Var flat_rows(const Var& x) {
  const int64_t rows = x.shape()[0];
  return accumulated(x.shape().rank == 2 ? x : reshape(x, {rows, x.shape().numel() / rows}));
}

void check_same_rows(const char* loss, const Tensor& student, const Tensor& teacher) {
  const Shape &s = student.shape(), &t = teacher.shape();
  COSS_CHECK(s.rank == 2 && t.rank == 2 && s[0] == t[0],
             std::string("[") + loss + "] the student's is " + s.str() + ", the teacher's " + t.str());
  COSS_CHECK(student.dtype() == teacher.dtype() && student.dtype() == accumulator_of(student.dtype()),
             std::string("[") + loss + "] the student's is " + name_of(student.dtype()) + ", the teacher's " +
                 name_of(teacher.dtype()));
}

void check_labels_teach(float label_weight) {
  COSS_CHECK(label_weight > 0,
             "the teacher's embedding learns from labels alone: method.label_weight must be above 0 with it");
}

EmbeddedRelation::EmbeddedRelation(const char* term, const LabeledOptions& weights, const EmbeddingOptions& embedding,
                                   const MethodParts& parts, Relation relation)
    : term_(term), weights_(weights), networks_(embedding, parts), relation_(std::move(relation)) {
  check_labels_teach(weights.label_weight);
}

LossTerms EmbeddedRelation::forward(const StepInputs& inputs) {
  const EmbeddedPair::Output seen = networks_(inputs);
  const Var relation = relation_(seen);
  return joined(weighted_sum({{weights_.weight, relation}, {weights_.label_weight, seen.labels}}),
                {relation.value, seen.label.value})
      .with_features(seen.features, seen.teacher.features);
}

}  // namespace coss
