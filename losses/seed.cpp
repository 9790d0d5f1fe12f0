// SEED: the loss, and the method with its queues, with small patches or without.
#include "losses/seed.h"

#include "autograd/ops.h"

namespace coss {

namespace {

// The teacher's embedding has so many columns.
int64_t width_of(const MethodOptions& options, const MethodParts& parts) {
  return options["teacher_head"] != 0 ? options.whole("dim") : parts.teacher->feature_width;
}

// Images of several views, one below the other.
Tensor stacked(const std::vector<Tensor>& views, size_t first) {
  const Shape one = views[first].shape();
  const auto flat = [&](const Tensor& images) { return Var(images.reshape({one[0], one.numel() / one[0]})); };
  const NoGrad guard;
  Var all = flat(views[first]);
  for (size_t v = first + 1; v < views.size(); ++v) {
    COSS_CHECK(views[v].shape() == one, "the small patches of SEED must have one size");
    all = stack_rows(all, flat(views[v]));
  }
  return all.value.reshape({all.shape()[0], one[1], one[2], one[3]});
}

}  // namespace

LossTerms seed_loss(const QueueContrastParams& params, const Var& student, const Tensor& teacher, const Tensor& queue) {
  const Tensor target = unit_rows(Var(teacher)).value;
  const Compared side{target, target, queue};
  return queue_loss(params, unit_rows(student), side, side);
}

SeedMethod::SeedMethod(const MethodOptions& options, const MethodParts& parts)
    : parts_(parts),
      loss_{options.real("student_temperature"), options.real("teacher_temperature"), false},
      teacher_head_(options["teacher_head"] != 0),
      queue_("queue", options.whole("queue"), width_of(options, parts)) {
  COSS_CHECK(loss_.student_temperature > 0 && loss_.teacher_temperature > 0,
             "the temperatures of SEED must be positive");
  const int64_t in = parts.student.feature_width, hidden = options.whole("head_hidden");
  head_ = mlp_head(parts.scope / "head", options.whole("head_layers"), in, hidden > 0 ? hidden : in,
                   width_of(options, parts));
  COSS_CHECK(options.whole("small_patches") >= 0, "method.small_patches cannot be negative");
  if (options.whole("small_patches") > 0)
    small_queue_.emplace("small_queue", options.whole("queue"), width_of(options, parts));
}

std::vector<std::string> SeedMethod::term_names() const {
  return small_queue_ ? std::vector<std::string>{"total", "global", "small"} : std::vector<std::string>{"total"};
}

void SeedMethod::prepare(Device device, DType compute, uint64_t seed) {
  queue_.prepare(device, compute, seed);
  if (small_queue_) small_queue_->prepare(device, compute, seed);
}

std::vector<StateTensor> SeedMethod::state() {
  std::vector<StateTensor> state;
  queue_.add_state(state);
  if (small_queue_) small_queue_->add_state(state);
  return state;
}

SeedMethod::Pair SeedMethod::embed(const Tensor& images, const Tensor& step) {
  Pair pair;
  {
    const NoGrad guard;
    pair.teacher_features = frozen_features(*parts_.teacher, images);
    const Var features(pair.teacher_features);
    pair.teacher = unit_rows(teacher_head_ ? parts_.teacher_head(features) : features).value;
  }
  COSS_CHECK(pair.teacher.shape()[1] == queue_.rows().shape()[1], "the teacher's head gives " +
                                                                      std::to_string(pair.teacher.shape()[1]) +
                                                                      " columns: set method.dim to that number");
  pair.features = parts_.student.features(Var(images), Mode::train, step);
  pair.student = through(head_, pair.features);
  return pair;
}

LossTerms SeedMethod::forward(const StepInputs& inputs) {
  const Pair whole = embed(inputs.views[0], inputs.step);
  LossTerms terms = seed_loss(loss_, whole.student, whole.teacher, queue_.rows());
  queue_.push(whole.teacher);
  if (small_queue_) {
    const Pair small = embed(stacked(inputs.views, 1), inputs.step);
    const LossTerms of_small = seed_loss(loss_, small.student, small.teacher, small_queue_->rows());
    // One patch of each image, as in the released code: six of one image would crowd the queue.
    small_queue_->push(small.teacher.view(0, whole.teacher.shape()));
    terms = joined(add(terms.total, of_small.total), {terms.total.value, of_small.total.value});
  }
  terms.student = whole.features.value;
  terms.teacher = whole.teacher_features;
  return terms;
}

}  // namespace coss
