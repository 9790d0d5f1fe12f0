// MoCo v2 and DisCo: InfoNCE against a queue of the averaged student's embeddings; the options, the methods.
#include "losses/moco.h"

#include "autograd/ops.h"
#include "losses/frame/drawn.h"
#include "losses/frame/heads.h"
#include "losses/frame/momentum.h"
#include "losses/frame/queue.h"
#include "losses/frame/views.h"

namespace coss {

LossTerms info_nce_loss(float temperature, const Var& query, const Tensor& key, const Tensor& queue) {
  return queue_loss({.student_temperature = temperature}, unit_rows(query), {{}, unit_rows(Var(key)).value, queue}, {});
}

Var unit_distance_loss(const Var& student, const Tensor& teacher) {
  // mse_loss is the mean over all elements; the distance is the sum over a row's.
  const Var mean = mse_loss("unit_distance_loss", unit_rows(student), unit_rows(Var(teacher)).value).total;
  return scale(mean, float(student.shape()[1]));
}

namespace {

struct MocoOptions {
  int64_t queue = 65536;
  float temperature = 0.2f, momentum = 0.999f;
  int64_t dim = 128, head_hidden = 0;

  void list(OptionList& row) {
    row.count("queue", queue, "keys that are kept");
    row.positive("temperature", temperature, "the cosines are divided by it");
    row.below_one("momentum", momentum, "momentum of the averaged network that makes the keys");
    row.count("dim", dim, "columns of an embedding");
    row.count("head_hidden", head_hidden, "width of the head's hidden layer; 0: that of the features", /*least=*/0);
  }
};

class MocoMethod : public Method {
 public:
  MocoMethod(const MocoOptions& options, const MethodParts& parts)
      : MocoMethod(options, parts, head_of(options, parts)) {}

  LossTerms forward(const StepInputs& inputs) override {
    const Var features = student_.features(Var(inputs.views[0]), Mode::train, inputs.step);
    return contrast(embed(features), inputs.views[1], inputs.step).with_features(features);
  }
  std::vector<std::string> term_names() const override { return {"total"}; }

  void prepare(Device device, DType compute, uint64_t seed) override {
    twin_.prepare(device, compute);
    queue_.prepare(device, compute, seed);
  }
  std::vector<StateTensor> state() override {
    std::vector<StateTensor> state;
    twin_.add_state(state);
    queue_.add_state(state);
    return state;
  }
  void after_update() override { twin_.follow(); }

 protected:
  Var embed(const Var& features) { return through(head_, features); }
  // The loss of these queries against the keys of `images`, which then enter the queue.
  LossTerms contrast(const Var& query, const Tensor& images, const Tensor& step) {
    const Tensor key = unit_rows(Var(twin_(images, step))).value;
    const LossTerms terms = info_nce_loss(temperature_, query, key, queue_.rows());
    queue_.push(key);
    return terms;
  }

  Network& student_;

 private:
  MocoMethod(const MocoOptions& options, const MethodParts& parts, const HeadMaker& head)
      : student_(parts.student),
        temperature_(options.temperature),
        head_(head(parts.scope)),
        twin_(parts, options.momentum, head),
        queue_("queue", options.queue, options.dim) {}

  static HeadMaker head_of(const MocoOptions& options, const MethodParts& parts) {
    const int64_t in = parts.student.feature_width, hidden = options.head_hidden > 0 ? options.head_hidden : in;
    return [=, out = options.dim](const Scope& scope) { return mlp_head(scope / "head", 2, in, hidden, out); };
  }

  float temperature_;
  std::unique_ptr<ProjectionHead> head_;
  MomentumTwin twin_;
  Queue queue_;
};

struct DiscoOptions {
  int64_t queue = 65536;
  float temperature = 0.2f, momentum = 0.999f;
  TeacherHeadOptions teacher = {};
  int64_t head_hidden = 2048;
  float distance_weight = 32;

  void list(OptionList& row) {
    row.count("queue", queue, "keys that are kept");
    row.positive("temperature", temperature, "the cosines are divided by it");
    row.below_one("momentum", momentum, "momentum of the averaged student that makes the keys");
    teacher.list(row);
    row.count("head_hidden", head_hidden, "width of the hidden layer of the student's head; 0: that of its features",
              /*least=*/0);
    row.number("distance_weight", distance_weight,
               "weight of the mean squared distances; the authors sum over the 32 images of a GPU");
  }
};

class DiscoMethod : public MocoMethod {
 public:
  DiscoMethod(const DiscoOptions& options, const MethodParts& parts)
      : DiscoMethod(options, parts, FrozenTeacher(options.teacher, parts)) {}

  LossTerms forward(const StepInputs& inputs) override {
    const FrozenTeacher::Seen targets[2] = {teacher_(inputs.views[0]), teacher_(inputs.views[1])};
    Var features[2], students[2];
    for (size_t v = 0; v < 2; ++v) {
      features[v] = student_.features(Var(inputs.views[v]), Mode::train, inputs.step);
      students[v] = embed(features[v]);
    }
    const Var nce = contrast(students[0], inputs.views[1], inputs.step).total;
    const Var distance = add(unit_distance_loss(students[0], targets[0].embedding),
                             unit_distance_loss(students[1], targets[1].embedding));
    return joined(weighted_sum({{1, nce}, {distance_weight_, distance}}), {nce.value, distance.value})
        .with_features(features[0], targets[0].features);
  }
  std::vector<std::string> term_names() const override { return {"total", "contrast", "distance"}; }

 private:
  DiscoMethod(const DiscoOptions& options, const MethodParts& parts, const FrozenTeacher& teacher)
      : MocoMethod({.queue = options.queue,
                    .temperature = options.temperature,
                    .momentum = options.momentum,
                    .dim = teacher.width,
                    .head_hidden = options.head_hidden},
                   parts),
        teacher_(teacher),
        distance_weight_(options.distance_weight) {}

  FrozenTeacher teacher_;
  float distance_weight_;
};

}  // namespace

MethodInfo moco_v2_method() {
  return {.name = "moco_v2",
          .paper = "Chen et al., Improved Baselines with Momentum Contrastive Learning, arXiv 2003.04297",
          .needs = {.queue = true},
          .options = rows_of<MocoOptions>(),
          .make = build<MocoMethod, MocoOptions>,
          .views = two_views,
          .loss_alone = [](DrawnInputs& in) -> LossCall {
            return [s = in.student_embedding(), t = in.teacher_embedding(), queue = in.queue()] {
              return info_nce_loss(0.2f, s, t, queue);
            };
          }};
}

MethodInfo disco_method() {
  return {.name = "disco",
          .paper =
              "Gao et al., DisCo: Remedy Self-supervised Learning on Lightweight Models with Distilled "
              "Contrastive Learning, ECCV 2022",
          .needs = {.teacher = true, .teacher_head = true, .queue = true},
          .options = rows_of<DiscoOptions>(),
          .make = build<DiscoMethod, DiscoOptions>,
          .views = two_views};
}

}  // namespace coss
