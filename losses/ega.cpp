// EGA: correlations of nodes as one operation, the options, the method and who learns when.
#include "losses/ega.h"

#include <optional>

#include "autograd/ops.h"
#include "losses/frame/drawn.h"
#include "losses/frame/embedded_pair.h"
#include "losses/frame/fused.h"
#include "losses/frame/labels.h"
#include "losses/frame/views.h"

namespace coss {

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

namespace {

constexpr uint64_t kStream = 0x656761;  // of the first values of the teacher's embedding

struct EgaOptions {
  float label_weight = 1;
  EgaParams loss = {};
  EmbeddingOptions embedding{.teacher_view = true, .width = 256};
  int64_t teacher_epochs = 0;
  bool classifier_on_embedding = false;

  void list(OptionList& row) {
    row.number("label_weight", label_weight,
               "weight of the cross-entropy with labels; 0: without labels, which wants embedding=0");
    row.number("node_weight", loss.node_weight, "weight of the distance of the nodes' correlations from the identity");
    row.number("edge_weight", loss.edge_weight, "weight of the distance of the edges");
    embedding.list(row, "width of the node embeddings of both sides; 0: the teacher's features are its nodes");
    row.count("teacher_epochs", teacher_epochs,
              "first epochs, in which the teacher's embedding learns alone, before the student; 0: both learn at once",
              /*least=*/0);
    row.flag("classifier_on_embedding", classifier_on_embedding,
             "the student's classifier stands on its embedding, as in the paper");
  }
};

class EgaMethod : public Method {
 public:
  EgaMethod(const EgaOptions& options, const MethodParts& parts)
      : options_(options),
        teacher_updates_(options.teacher_epochs * parts.steps_per_epoch),
        student_(parts.student),
        networks_(options.embedding, parts, kStream) {
    const int64_t width = options.embedding.width;
    COSS_CHECK(width == 0 || options.label_weight > 0,
               "without labels (method.label_weight=0) nothing teaches the teacher's embedding: set "
               "method.embedding=0, which takes the teacher's features as its nodes");
    COSS_CHECK(width > 0 || options.teacher_epochs == 0,
               "with method.embedding=0 the teacher has nothing to learn: leave method.teacher_epochs at 0");
    if (options.label_weight > 0 && options.classifier_on_embedding)
      classifier_.emplace(parts.scope, "classifier",
                          LinearOptions(width > 0 ? width : parts.teacher->feature_width, parts.classes));
  }

  LossTerms forward(const StepInputs& inputs) override {
    const EmbeddedPair::Teacher teacher = networks_.teacher(inputs, learner_ != Learner::student);
    const Student own = learner_ == Learner::companion ? idle_student(teacher.label) : student(inputs, teacher);
    // Where the teacher's embedding does not learn, its cross-entropy is shown and not added.
    const Var learned = learner_ == Learner::student ? Var() : teacher.label;
    return joined(weighted_sum({{1, own.loss}, {1, learned}}), {own.nodes, own.edges, own.label, teacher.label.value})
        .with_features(own.features, teacher.features);
  }

  std::vector<std::string> term_names() const override {
    std::vector<std::string> names{"total", "nodes", "edges"};
    if (options_.label_weight > 0) names.push_back("label");
    if (networks_.learns()) names.push_back("teacher_label");
    return names;
  }
  void prepare(Device device, DType compute, uint64_t seed) override { networks_.prepare(device, compute, seed); }
  Params* companion() override { return networks_.companion(); }
  Learner learner(int64_t updates) override {
    if (!networks_.learns()) return Learner::student;
    if (teacher_updates_ == 0) return Learner::both;
    return updates < teacher_updates_ ? Learner::companion : Learner::student;
  }
  void learn(Learner learner) override { learner_ = learner; }

 private:
  // The student's part of the loss, and its terms.
  struct Student {
    Var features, loss;
    Tensor nodes, edges, label;
  };

  Student student(const StepInputs& inputs, const EmbeddedPair::Teacher& teacher) {
    const auto [features, nodes] = networks_.student(inputs);
    const LossTerms graph = ega_loss(options_.loss, accumulated(nodes), teacher.embedding);
    const Var label = classifier_ ? cross_entropy(widened((*classifier_)(nodes)), inputs.labels)
                                  : label_loss(options_.label_weight, student_, features, inputs);
    return {features, weighted_sum({{1, graph.total}, {options_.label_weight, label}}), graph.values.view(1, {1}),
            graph.values.view(2, {1}), label.value};
  }

  // While the teacher's embedding learns alone, the student's terms are 0; `like` has their dtype and device.
  static Student idle_student(const Var& like) {
    Tensor zero({1}, like.value.dtype(), like.value.device());
    kernels(zero).fill(context(zero.device()), 0, zero);
    return {{}, {}, zero, zero, zero};
  }

  EgaOptions options_;
  int64_t teacher_updates_;  // 0: the embedding learns at the same time as the student
  Learner learner_ = Learner::both;
  Network& student_;
  EmbeddedPair networks_;
  std::optional<Linear> classifier_;  // of the student, on its embedding
};

}  // namespace

MethodInfo ega_method() {
  return {.name = "ega",
          .paper =
              "Ma et al., Distilling Knowledge from Self-Supervised Teacher by Embedding Graph Alignment, "
              "BMVC 2022",
          .needs = {.teacher = true, .labels = true},
          .options = rows_of<EgaOptions>(),
          .make = build<EgaMethod, EgaOptions>,
          .views = teachers_view,
          .loss_alone = [](DrawnInputs& in) -> LossCall {
            return [s = in.student(), t = in.teacher()] { return ega_loss({}, s, t); };
          }};
}

}  // namespace coss
