// BINGO: bags of two images and their mixture against a queue of the teacher's keys.
#include "losses/bingo.h"

#include "autograd/ops.h"
#include "losses/frame/scheduled.h"

namespace coss {

namespace {

// Rows part, part + 2, part + 4 … of x (2N,…): the anchors' or the neighbors'.
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
  // Each is the mean of the two sums that the formula has.
  const Var rows = stack_rows(anchors, neighbors);
  const Var own = contrast(rows, both(anchor_keys, neighbor_keys));
  const Var other = contrast(rows, both(neighbor_keys, anchor_keys));
  const Var mixture = add(times(contrast(mixed, anchor_keys), weights.share),
                          times(contrast(mixed, neighbor_keys), straight(-1, weights.share, 1)));
  const Var total =
      weighted_sum({{2.0f / 3, add(times(own, weights.own), times(other, weights.other))}, {1.0f / 3, mixture}});
  return joined(total, {own.value, other.value, mixture.value});
}

BingoMethod::BingoMethod(const MethodOptions& options, const MethodParts& parts)
    : parts_(parts),
      temperature_(options.real("temperature")),
      intra_updates_(options["intra_epochs"] * double(parts.steps_per_epoch)),
      teacher_head_(options["teacher_head"] != 0),
      cutmix_{.alpha = options.real("alpha")},
      head_(mlp_head(parts.scope / "head", 2, parts.student.feature_width, options.whole("head_hidden"),
                     teacher_head_ ? options.whole("dim") : parts.teacher->feature_width)),
      queue_("queue", options.whole("queue"), head_->width) {
  COSS_CHECK(temperature_ > 0 && cutmix_.alpha > 0, "method.temperature and method.alpha must be above 0");
  COSS_CHECK(parts.nearest == 1, "the method bingo wants one neighbor beside each anchor: set neighbors.nearest=1");
}

void BingoMethod::prepare(Device device, DType compute, uint64_t seed) {
  cutmix_.seed = seed;
  queue_.prepare(device, compute, seed);
}

std::vector<StateTensor> BingoMethod::state() {
  std::vector<StateTensor> state;
  queue_.add_state(state);
  return state;
}

LossTerms BingoMethod::forward(const StepInputs& inputs) {
  COSS_CHECK(inputs.views[0].shape()[0] % 2 == 0, "[bingo] each anchor of a batch is followed by one neighbor");
  const Tensor target = frozen_features(*parts_.teacher, inputs.views[1]);
  Tensor keys;
  {
    const NoGrad guard;
    keys = unit_rows(teacher_head_ ? parts_.teacher_head(Var(target)) : Var(target)).value;
  }
  COSS_CHECK(keys.shape()[1] == head_->width,
             "the teacher's head gives " + std::to_string(keys.shape()[1]) + " columns: set method.dim to that number");
  const Tensor anchor_keys = every_second(keys, 0), neighbor_keys = every_second(keys, 1);
  const Tensor anchors = every_second(inputs.views[0], 0), neighbors = every_second(inputs.views[0], 1);
  Tensor mixed(anchors.shape(), anchors.dtype(), anchors.device());
  const Tensor alone = while_below(inputs.step, intra_updates_, keys.dtype());
  BingoWeights weights{straight(0.5, alone, 0.5), straight(-0.5, alone, 0.5), Tensor({1}, keys.dtype(), keys.device())};
  kernels(mixed).cutmix(context(mixed.device()), cutmix_, inputs.step, anchors, neighbors, mixed, weights.share);

  Tensor first;
  const auto embedding = [&](const Tensor& images) {
    const Var features = parts_.student.features(Var(images), Mode::train, inputs.step);
    if (first.empty()) first = features.value;
    return unit_rows((*head_)(features, Mode::train));
  };
  const Var of_anchors = embedding(anchors), of_neighbors = embedding(neighbors), of_mixed = embedding(mixed);
  LossTerms terms =
      bingo_loss(temperature_, weights, of_anchors, of_neighbors, of_mixed, anchor_keys, neighbor_keys, queue_.rows());
  queue_.push(anchor_keys);
  terms.student = first;
  terms.teacher = every_second(target, 0);
  return terms;
}

}  // namespace coss
