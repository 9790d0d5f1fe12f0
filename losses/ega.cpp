// EGA: correlations of nodes as one operation, the layers on both sides, who learns when.
#include "losses/ega.h"

#include "autograd/ops.h"
#include "losses/frame/fused.h"

namespace coss {

namespace {

constexpr uint64_t kSeedOfEmbedding = 0x656761;  // other first values than the student's

}  // namespace

LossTerms ega_loss(const EgaParams& params, const Var& student, const Tensor& teacher) {
  check_alike("ega", student.value, teacher);
  const auto unit = [](const Var& x) { return normalize_rows(kSmallestNorm, center_rows(x)); };
  const Var s = unit(student), t = unit(Var(teacher)), edges = gram(s), nodes = product(t, s);
  const Tensor of_teacher = gram(t).value;
  return fused_loss(edges, nodes, 3, [&](Tensor& terms, Tensor& dedges, Tensor& dnodes) {
    kernels(terms).ega_loss(context(terms.device()), params, edges.value, of_teacher, nodes.value, terms, dedges,
                            dnodes);
  });
}

EgaMethod::EgaMethod(const MethodOptions& options, const MethodParts& parts)
    : loss_{.node_weight = options.real("node_weight"), .edge_weight = options.real("edge_weight")},
      label_weight_(options.real("label_weight")),
      teacher_updates_(options.whole("teacher_epochs") * parts.steps_per_epoch),
      student_(parts.student),
      teacher_(*parts.teacher) {
  const int64_t width = options.whole("embedding"), in = student_.feature_width, out = teacher_.feature_width;
  COSS_CHECK(width >= 0 && label_weight_ >= 0 && teacher_updates_ >= 0,
             "method.embedding, method.label_weight and method.teacher_epochs must not be negative");
  COSS_CHECK(width == 0 || label_weight_ > 0,
             "without labels (method.label_weight=0) nothing teaches the teacher's embedding: set method.embedding=0, "
             "which takes the teacher's features as its nodes");
  COSS_CHECK(width > 0 || teacher_updates_ == 0,
             "with method.embedding=0 the teacher has nothing to learn: leave method.teacher_epochs at 0");
  const int64_t nodes = width > 0 ? width : out;
  if (width > 0 || in != out) head_ = mlp_head(parts.scope / "embedding", 1, in, 0, nodes);
  if (label_weight_ > 0 && options.whole("classifier_on_embedding") != 0)
    student_classifier_ = std::make_unique<Linear>(parts.scope, "classifier", LinearOptions(nodes, parts.classes));
  if (width == 0) return;
  const Scope scope(params_);
  embedding_ = std::make_unique<Linear>(scope, "embedding", LinearOptions(out, width));
  classifier_ = std::make_unique<Linear>(scope, "classifier", LinearOptions(width, parts.classes));
}

std::vector<std::string> EgaMethod::term_names() const {
  std::vector<std::string> names{"total", "nodes", "edges"};
  if (label_weight_ > 0) names.push_back("label");
  if (embedding_) names.push_back("teacher_label");
  return names;
}

void EgaMethod::prepare(Device device, DType compute, uint64_t seed) {
  if (embedding_) params_.allocate(device, compute, seed ^ kSeedOfEmbedding);
}

Learner EgaMethod::learner(int64_t updates) {
  if (!embedding_) return Learner::student;
  if (teacher_updates_ == 0) return Learner::both;
  return updates < teacher_updates_ ? Learner::companion : Learner::student;
}

EgaMethod::Nodes EgaMethod::teacher_nodes(const Tensor& features, const Tensor& labels) const {
  if (!embedding_) return {Var(features), {}};
  const auto run = [&]() -> Nodes {
    const Var nodes = (*embedding_)(Var(features));
    return {nodes, cross_entropy(widened((*classifier_)(nodes)), labels)};
  };
  if (learner_ != Learner::student) return run();
  const NoGrad guard;
  return run();
}

LossTerms EgaMethod::forward(const StepInputs& inputs) {
  const Tensor target = frozen_features(teacher_, inputs.views.back());
  const Nodes teacher = teacher_nodes(target, inputs.labels);
  LossTerms terms;
  terms.teacher = target;
  if (learner_ == Learner::companion) {  // the student's terms are 0
    Tensor none({1}, teacher.label.value.dtype(), target.device());
    kernels(none).fill(context(none.device()), 0, none);
    const LossTerms own = joined(teacher.label, {none, none, none, teacher.label.value});
    terms.total = own.total;
    terms.values = own.values;
    return terms;
  }
  const Var features = student_.features(Var(inputs.views[0]), Mode::train, inputs.step);
  const Var nodes = through(head_, features);
  const LossTerms graph = ega_loss(loss_, accumulated(nodes), accumulated(teacher.nodes).value);
  const Tensor of_nodes = graph.values.view(1, {1}), of_edges = graph.values.view(2, {1});
  terms.student = features.value;
  if (label_weight_ == 0) {
    terms.total = graph.total;
    terms.values = graph.values;
    return terms;
  }
  const Var logits =
      student_classifier_ ? (*student_classifier_)(nodes) : student_.logits(features, Mode::train, inputs.step);
  const Var label = cross_entropy(widened(logits), inputs.labels);
  LossTerms own;
  if (embedding_) {
    // In what the teacher's layers do not learn their cross-entropy is shown, not added.
    const Var sum = weighted_sum({{1.0f, graph.total}, {label_weight_, label}});
    own = joined(learner_ == Learner::both ? add(sum, teacher.label) : sum,
                 {of_nodes, of_edges, label.value, teacher.label.value});
  } else {
    own = joined(weighted_sum({{1.0f, graph.total}, {label_weight_, label}}), {of_nodes, of_edges, label.value});
  }
  terms.total = own.total;
  terms.values = own.values;
  return terms;
}

}  // namespace coss
