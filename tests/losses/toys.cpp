// The toy network and the set-up around it.
#include "tests/losses/toys.h"

#include <algorithm>
#include <cmath>

#include "autograd/ops.h"
#include "tests/support/support.h"

namespace coss::test {

Toy::Toy(const Scope& scope, const ToyShape& shape)
    : window_(shape.window),
      first_(scope, "first", LinearOptions(3, (shape.width + 1) / 2)),
      second_(scope, "second", LinearOptions((shape.width + 1) / 2, shape.width)) {
  feature_width = shape.width;
  classes = shape.classes;
  if (classes > 0) classifier_.emplace(scope, "fc", LinearOptions(shape.width, classes));
}

Var Toy::features(const Var& images, Mode, const Tensor&, std::vector<Var>* stages) {
  const Var first = first_(images, Activation::silu);
  const Var pooled = window_ > 1 ? avg_pool({.window = window_, .stride = window_, .pad = 0}, first) : first;
  const Var second = second_(pooled, Activation::silu);
  if (stages) *stages = {first, second};
  return mean_hw(second);
}

Var Toy::logits(const Var& features, Mode, const Tensor&) { return classifier_.value()(features); }

MethodOptions options_of(const std::string& method, const std::map<std::string, double>& changed) {
  const std::map<std::string, double> small{{"head_hidden", 6}, {"queue", 12},     {"negatives", 4},
                                            {"embedding", 6},   {"projection", 3}, {"dim", kToyDim}};
  MethodOptions options(method);
  for (auto& [option, value] : options.values)
    if (small.contains(option) && value > 0) value = small.at(option);
  for (const auto& [option, value] : changed) options.values.at(option) = value;
  return options;
}

Toys::Toys(const MethodOptions& method_options, const ToyOptions& options)
    : student(Scope(student_params) / "student", {options.width, options.classes, options.window}),
      teacher(Scope(teacher_params), {options.teacher_width, options.teacher_classes, options.teacher_window}),
      teacher_head(Scope(teacher_params), "head", LinearOptions(options.teacher_width, options.teacher_head)),
      parts{.scope = Scope(student_params), .student = student} {
  const auto twin = [](const ToyShape& shape) {
    return [shape](const Scope& scope) { return std::make_unique<Toy>(scope, shape); };
  };
  const MethodInfo::Needs needs = find_method(method_options.name).needs;
  const Device device = options.device;
  if (needs.teacher) parts.teacher = &teacher;
  if (needs_teacher_head(method_options)) parts.teacher_head = [this](const Var& x) { return teacher_head(x); };
  parts.twin = twin({options.width, options.classes, options.window});
  parts.teacher_twin = twin({options.teacher_width, options.teacher_classes, options.teacher_window});
  parts.batch = options.batch;
  parts.nearest = needs.neighbors ? options.nearest : 0;
  parts.images = options.images;
  if (needs_labels(method_options)) parts.classes = options.classes;
  const auto label = [&](int64_t image) { return options.classes > 0 ? int32_t(image % options.classes) : -1; };
  for (int64_t image = 0; image < options.images; ++image) parts.labels.push_back(label(image));
  parts.steps_per_epoch = options.steps_per_epoch;
  parts.total_steps = options.total_steps;
  parts.image_size = options.size;
  method = make_method(method_options, parts);
  student_params.allocate(device, options.dtype, 11);
  teacher_params.allocate(device, options.dtype, 12, true);
  method->prepare(device, options.dtype, 13);
  method->learn(method->learner(0));
  for (int64_t view = 0; view < views_of(method_options); ++view) {
    const Shape shape{options.batch, options.size, options.size, 3};
    inputs.views.push_back(random_tensor(shape, options.dtype, device, uint64_t(view) + 1));
  }
  std::vector<int32_t> labels, indices;
  for (int64_t i = 0; i < options.batch; ++i) {
    const int64_t image = (4 + 5 * i) % options.images;
    indices.push_back(int32_t(image));
    labels.push_back(label(image));
  }
  inputs.labels = Tensor::from(labels, {options.batch}, device);
  inputs.indices = Tensor::from(indices, {options.batch}, device);
  set_step(0);
}

void Toys::set_step(int64_t step) {
  inputs.updates = Tensor::from(std::vector<int64_t>{step}, {1}, student_params.weights().value.device());
}

std::vector<double> Toys::terms() { return method->forward(inputs).values.to_doubles(); }

void Toys::keep() {
  kept_.emplace();
  for (const StateTensor& part : method->state()) {
    std::vector<uint8_t>& bytes = kept_->emplace_back(part.tensor.bytes());
    kernels(part.tensor).download(context(part.tensor.device()), part.tensor, bytes.data());
  }
}

void Toys::restore() {
  const std::vector<StateTensor> state = method->state();
  for (size_t i = 0; i < state.size(); ++i) {
    Tensor storage = state[i].tensor;
    kernels(storage).upload(context(storage.device()), kept_.value()[i].data(), storage);
  }
}

LossTerms Toys::forward() {
  if (!kept_) {
    if (!method->state().empty()) method->forward(inputs);
    keep();
  }
  restore();
  return method->forward(inputs);
}

double Toys::total() { return forward().total.value.item(); }

void Toys::backward() {
  Tape tape;
  tape.backward(forward().total);
}

double Toys::error_of_gradient(Params& params) {
  constexpr double kStep = 1e-6;
  backward();
  double worst = 0;
  for (FlatRange* range : {&params.weights(), &params.rest()}) {
    double* values = range->value.mutable_data<double>();
    std::vector<double> differences;
    for (int64_t i = 0; i < range->value.numel(); ++i) {
      const double center = values[i];
      values[i] = center + kStep;
      const double above = total();
      values[i] = center - kStep;
      differences.push_back((above - total()) / (2 * kStep));
      values[i] = center;
    }
    const double error = normalized_error(range->grad.to_doubles(), differences);
    if (std::isnan(error)) return error;
    worst = std::max(worst, error);
  }
  return worst;
}

}  // namespace coss::test
