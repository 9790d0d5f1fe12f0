// MoCo v2 and DisCo: InfoNCE against a queue of the averaged student's embeddings.
#include "losses/moco.h"

#include "autograd/ops.h"

namespace coss {

namespace {

HeadMaker head_of(const MethodOptions& options, const MethodParts& parts, int64_t width) {
  const int64_t in = parts.student.feature_width, hidden = options.whole("head_hidden");
  return [=](const Scope& scope) { return mlp_head(scope / "head", 2, in, hidden > 0 ? hidden : in, width); };
}

}  // namespace

LossTerms info_nce_loss(float temperature, const Var& query, const Tensor& key, const Tensor& queue) {
  return queue_loss({.student_temperature = temperature}, unit_rows(query), {{}, unit_rows(Var(key)).value, queue}, {});
}

Var unit_distance_loss(const Var& student, const Tensor& teacher) {
  check_alike("unit_distance_loss", student.value, teacher);
  const Var row = unit_rows(student);
  const Tensor target = unit_rows(Var(teacher)).value;
  // The kernel gives the mean over all elements.
  const LossTerms mean = fused_loss(row, 1, [&](Tensor& loss, Tensor& drow) {
    kernels(drow).mse_loss(context(drow.device()), row.value, target, loss, drow);
  });
  return scale(mean.total, float(row.shape()[1]));
}

MocoMethod::MocoMethod(const MethodOptions& options, const MethodParts& parts)
    : MocoMethod(options, parts, head_of(options, parts, options.whole("dim"))) {}

MocoMethod::MocoMethod(const MethodOptions& options, const MethodParts& parts, const HeadMaker& head)
    : student_(parts.student),
      temperature_(options.real("temperature")),
      head_(head(parts.scope)),
      twin_(parts, options.real("momentum"), head),
      queue_("queue", options.whole("queue"), head_->width) {
  COSS_CHECK(temperature_ > 0, "the temperature of InfoNCE must be positive");
}

void MocoMethod::prepare(Device device, DType compute, uint64_t seed) {
  twin_.prepare(device, compute);
  queue_.prepare(device, compute, seed);
}

std::vector<StateTensor> MocoMethod::state() {
  std::vector<StateTensor> state;
  twin_.add_state(state);
  queue_.add_state(state);
  return state;
}

LossTerms MocoMethod::contrast(const Var& query, const Tensor& images, const Tensor& step) {
  const Tensor key = unit_rows(Var(twin_(images, step))).value;
  LossTerms terms = info_nce_loss(temperature_, query, key, queue_.rows());
  queue_.push(key);
  return terms;
}

LossTerms MocoMethod::forward(const StepInputs& inputs) {
  const Var features = student_.features(Var(inputs.views[0]), Mode::train, inputs.step);
  LossTerms terms = contrast(embed(features), inputs.views[1], inputs.step);
  terms.student = features.value;
  return terms;
}

namespace {

int64_t teacher_width(const MethodOptions& options, const MethodParts& parts) {
  return options["teacher_head"] != 0 ? options.whole("dim") : parts.teacher->feature_width;
}

}  // namespace

DiscoMethod::DiscoMethod(const MethodOptions& options, const MethodParts& parts)
    : MocoMethod(options, parts, head_of(options, parts, teacher_width(options, parts))),
      parts_(parts),
      weight_(options.real("distance_weight")),
      teacher_head_(options["teacher_head"] != 0) {}

LossTerms DiscoMethod::forward(const StepInputs& inputs) {
  Var students[2];
  Tensor teachers[2], first_features;
  LossTerms terms;
  for (size_t v = 0; v < 2; ++v) {
    const NoGrad guard;
    const Var features(frozen_features(*parts_.teacher, inputs.views[v]));
    if (v == 0) first_features = features.value;
    teachers[v] = (teacher_head_ ? parts_.teacher_head(features) : features).value;
  }
  for (size_t v = 0; v < 2; ++v) {
    const Var features = student_.features(Var(inputs.views[v]), Mode::train, inputs.step);
    if (v == 0) terms.student = features.value;
    students[v] = embed(features);
    COSS_CHECK(teachers[v].shape() == students[v].shape(), "the teacher's head gives " +
                                                               std::to_string(teachers[v].shape()[1]) +
                                                               " columns: set method.dim to that number");
  }
  const LossTerms nce = contrast(students[0], inputs.views[1], inputs.step);
  const Var distance = add(unit_distance_loss(students[0], teachers[0]), unit_distance_loss(students[1], teachers[1]));
  const Tensor student = terms.student;
  terms = joined(weighted_sum({{1, nce.total}, {weight_, distance}}), {nce.total.value, distance.value});
  terms.student = student;
  terms.teacher = first_features;
  return terms;
}

}  // namespace coss
