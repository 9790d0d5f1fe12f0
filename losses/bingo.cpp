// BINGO: bags of two images and their mixture against a queue of the teacher's keys; the options, the method.
#include "losses/bingo.h"

#include "autograd/ops.h"
#include "losses/frame/heads.h"
#include "losses/frame/queue.h"
#include "losses/frame/scheduled.h"
#include "losses/frame/views.h"

namespace coss {

namespace {

// Rows part, part + 2, part + 4 … of x (2N,…): those of the anchors (0) or of the neighbors (1).
Tensor every_second(const Tensor& x, int64_t part) {
  Shape shape = x.shape();
  shape.dims[0] /= 2;
  const int64_t width = shape.numel() / shape[0];
  Tensor y(shape, x.dtype(), x.device());
  Tensor rows = y.reshape({shape[0], width});
  kernels(x).copy_columns(context(x.device()), {.from = part * width, .count = width}, x.reshape({shape[0], 2 * width}),
                          rows);
  return y;
}

}  // namespace

LossTerms bingo_loss(float temperature, const BingoWeights& weights, const Var& anchors, const Var& neighbors,
                     const Var& mixed, const Tensor& anchor_keys, const Tensor& neighbor_keys, const Tensor& queue) {
  const auto contrast = [&](const Var& rows, const Tensor& partners) {
    return queue_loss({.student_temperature = temperature}, rows, {{}, partners, queue}, {}).total;
  };
  const auto both = [](const Tensor& a, const Tensor& b) { return stack_rows(Var(a), Var(b)).value; };
  // Each of these losses is the mean of two that the formula adds up; hence the weight 2/3.
  const Var rows = stack_rows(anchors, neighbors);
  const Var own = contrast(rows, both(anchor_keys, neighbor_keys));
  const Var other = contrast(rows, both(neighbor_keys, anchor_keys));
  const Var mixture = add(times(contrast(mixed, anchor_keys), weights.share),
                          times(contrast(mixed, neighbor_keys), straight(-1, weights.share, 1)));
  const Var total =
      weighted_sum({{2.0f / 3, add(times(own, weights.own), times(other, weights.other))}, {1.0f / 3, mixture}});
  return joined(total, {own.value, other.value, mixture.value});
}

namespace {

struct BingoOptions {
  int64_t queue = 65536;
  float temperature = 0.2f;
  double intra_epochs = 10;
  CutmixParams cutmix = {};
  int64_t head_hidden = 2048;
  TeacherHeadOptions teacher = {};

  void list(OptionList& row) {
    row.count("queue", queue, "keys of earlier images");
    row.positive("temperature", temperature, "the cosines are divided by it; the authors' for EfficientNet-B0 is 0.12");
    row.number("intra_epochs", intra_epochs, "epochs before an image follows its neighbor's key too");
    row.positive("alpha", cutmix.alpha, "CutMix: the boxes' shares are of Beta(alpha, alpha)");
    row.count("head_hidden", head_hidden, "width of the hidden layer of the student's head");
    row.count("dim", teacher.dim, "width of the embeddings, that of the teacher's head");
    row.flag("teacher_head", teacher.wanted,
             "the head of the teacher's file gives embeddings; else its features are taken");
  }
};

class BingoMethod : public Method {
 public:
  BingoMethod(const BingoOptions& options, const MethodParts& parts)
      : temperature_(options.temperature),
        intra_updates_(options.intra_epochs * double(parts.steps_per_epoch)),
        cutmix_(options.cutmix),
        student_(parts.student),
        teacher_(options.teacher, parts),
        head_(mlp_head(parts.scope / "head", 2, student_.feature_width, options.head_hidden, teacher_.width)),
        queue_("queue", options.queue, teacher_.width) {
    COSS_CHECK(parts.nearest == 1, "the method bingo wants one neighbor beside each anchor: set neighbors.nearest=1");
  }

  LossTerms forward(const StepInputs& inputs) override {
    COSS_CHECK(inputs.views[0].shape()[0] % 2 == 0, "[bingo] each anchor of a batch is followed by one neighbor");
    const FrozenTeacher::Seen target = teacher_(inputs.views[1]);
    const Tensor keys = unit_rows(Var(target.embedding)).value;
    const Tensor anchor_keys = every_second(keys, 0), neighbor_keys = every_second(keys, 1);
    const Tensor anchors = every_second(inputs.views[0], 0), neighbors = every_second(inputs.views[0], 1);
    Tensor mixed(anchors.shape(), anchors.dtype(), anchors.device());
    const Tensor alone = while_below(inputs.step, intra_updates_, keys.dtype());
    BingoWeights weights{straight(0.5, alone, 0.5), straight(-0.5, alone, 0.5),
                         Tensor({1}, keys.dtype(), keys.device())};
    kernels(mixed).cutmix(context(mixed.device()), cutmix_, inputs.step, anchors, neighbors, mixed, weights.share);

    Var first;
    const auto embedding = [&](const Tensor& images) {
      const Var features = student_.features(Var(images), Mode::train, inputs.step);
      if (first.empty()) first = features;
      return unit_rows((*head_)(features, Mode::train));
    };
    const Var of_anchors = embedding(anchors), of_neighbors = embedding(neighbors), of_mixed = embedding(mixed);
    const LossTerms terms = bingo_loss(temperature_, weights, of_anchors, of_neighbors, of_mixed, anchor_keys,
                                       neighbor_keys, queue_.rows());
    queue_.push(anchor_keys);
    return terms.with_features(first, every_second(target.features, 0));
  }
  std::vector<std::string> term_names() const override { return {"total", "own", "other", "mixed"}; }

  void prepare(Device device, DType compute, uint64_t seed) override {
    cutmix_.seed = seed;
    queue_.prepare(device, compute, seed);
  }
  std::vector<StateTensor> state() override {
    std::vector<StateTensor> state;
    queue_.add_state(state);
    return state;
  }

 private:
  float temperature_;
  double intra_updates_;
  CutmixParams cutmix_;
  Network& student_;
  FrozenTeacher teacher_;
  std::unique_ptr<ProjectionHead> head_;
  Queue queue_;
};

}  // namespace

MethodInfo bingo_method() {
  return {.name = "bingo",
          .paper = "Xu et al., Bag of Instances Aggregation Boosts Self-supervised Distillation, ICLR 2022",
          .needs = {.teacher = true, .teacher_head = true, .queue = true, .neighbors = true},
          .options = rows_of<BingoOptions>(),
          .make = build<BingoMethod, BingoOptions>,
          .views = two_views};
}

}  // namespace coss
