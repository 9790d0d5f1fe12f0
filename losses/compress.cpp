// CompRess: the loss, and its two methods.
#include "losses/compress.h"

namespace coss {

namespace {

float temperature_of(const MethodOptions& options) {
  COSS_CHECK(options["temperature"] > 0, "the temperature of CompRess must be positive");
  return options.real("temperature");
}

}  // namespace

LossTerms compress_loss(float temperature, const Var& student, const Tensor& student_queue, const Tensor& teacher,
                        const Tensor& teacher_queue) {
  const QueueContrastParams params{temperature, temperature, /*divergence=*/true};
  return queue_loss(params, unit_rows(student), {{}, {}, student_queue},
                    {unit_rows(Var(teacher)).value, {}, teacher_queue});
}

Compress1qMethod::Compress1qMethod(const MethodOptions& options, const MethodParts& parts)
    : student_(parts.student),
      teacher_(*parts.teacher),
      temperature_(temperature_of(options)),
      head_(mlp_head(parts.scope / "head", options.whole("head_layers"), student_.feature_width, teacher_.feature_width,
                     teacher_.feature_width)),
      queue_("queue", options.whole("queue"), teacher_.feature_width) {}

LossTerms Compress1qMethod::forward(const StepInputs& inputs) {
  const Tensor& images = inputs.views[0];
  const Tensor target = frozen_features(teacher_, images);
  const Var features = student_.features(Var(images), Mode::train, inputs.step);
  LossTerms terms = compress_loss(temperature_, through(head_, features), queue_.rows(), target, queue_.rows());
  queue_.push(unit_rows(Var(target)).value);
  terms.student = features.value;
  terms.teacher = target;
  return terms;
}

std::vector<StateTensor> Compress1qMethod::state() {
  std::vector<StateTensor> state;
  queue_.add_state(state);
  return state;
}

Compress2qMethod::Compress2qMethod(const MethodOptions& options, const MethodParts& parts)
    : student_(parts.student),
      teacher_(*parts.teacher),
      temperature_(temperature_of(options)),
      twin_(parts, options.real("momentum"), {}),
      student_queue_("student_queue", options.whole("queue"), student_.feature_width),
      teacher_queue_("teacher_queue", options.whole("queue"), teacher_.feature_width) {}

void Compress2qMethod::prepare(Device device, DType compute, uint64_t seed) {
  twin_.prepare(device, compute);
  student_queue_.prepare(device, compute, seed);
  teacher_queue_.prepare(device, compute, seed);
}

LossTerms Compress2qMethod::forward(const StepInputs& inputs) {
  const Tensor& images = inputs.views[0];
  const Tensor target = frozen_features(teacher_, images);
  const Tensor key = twin_(images, inputs.step);
  const Var features = student_.features(Var(images), Mode::train, inputs.step);
  LossTerms terms = compress_loss(temperature_, features, student_queue_.rows(), target, teacher_queue_.rows());
  student_queue_.push(unit_rows(Var(key)).value);
  teacher_queue_.push(unit_rows(Var(target)).value);
  terms.student = features.value;
  terms.teacher = target;
  return terms;
}

std::vector<StateTensor> Compress2qMethod::state() {
  std::vector<StateTensor> state;
  twin_.add_state(state);
  student_queue_.add_state(state);
  teacher_queue_.add_state(state);
  return state;
}

}  // namespace coss
