// The layers on both sides, and one pass through all of them.
#include "losses/frame/embedded_pair.h"

#include <optional>

#include "autograd/ops.h"
#include "losses/frame/views.h"

namespace coss {

void EmbeddingOptions::list(OptionList& row, const char* width_help) {
  list_teacher_view(row, teacher_view);
  row.count("embedding", width, width_help, /*least=*/0);
  companion.list(row, "the teacher's embedding");
}

EmbeddedPair::EmbeddedPair(const EmbeddingOptions& options, const MethodParts& parts, uint64_t stream)
    : student_(parts.student), teacher_(*parts.teacher), classes_(parts.classes), stream_(stream) {
  const int64_t width = options.width, in = student_.feature_width, out = teacher_.feature_width;
  if (width > 0 || in != out) head_ = mlp_head(parts.scope / "embedding", 1, in, 0, width > 0 ? width : out);
  if (width == 0) return;
  const Scope scope(params_);
  embedding_ = std::make_unique<Linear>(scope, "embedding", LinearOptions(out, width));
  classifier_ = std::make_unique<Linear>(scope, "classifier", LinearOptions(width, classes_));
}

void EmbeddedPair::prepare(Device device, DType compute, uint64_t seed) {
  if (embedding_) params_.allocate(device, compute, seed ^ stream_);
}

EmbeddedPair::Teacher EmbeddedPair::teacher(const StepInputs& inputs, bool learns) const {
  Teacher seen{.features = frozen_features(teacher_, inputs.views.back()), .embedding = {}, .logits = {}, .label = {}};
  const Var features(seen.features);
  if (!embedding_) {
    seen.embedding = accumulated(features).value;
    return seen;
  }
  std::optional<NoGrad> guard;
  if (!learns) guard.emplace();
  const Var embedding = (*embedding_)(features), logits = (*classifier_)(embedding);
  seen.label = cross_entropy(widened(logits), inputs.labels);
  seen.embedding = accumulated(Var(embedding.value)).value;
  seen.logits = logits.value;
  return seen;
}

EmbeddedPair::Student EmbeddedPair::student(const StepInputs& inputs) const {
  const Var features = student_.features(Var(inputs.views[0]), Mode::train, inputs.step);
  return {features, through(head_, features)};
}

EmbeddedPair::Output EmbeddedPair::operator()(const StepInputs& inputs) const {
  Output y;
  y.teacher = teacher(inputs);
  const Student seen = student(inputs);
  y.features = seen.features;
  y.student = accumulated(seen.embedding);
  y.logits = student_.logits(y.features, Mode::train, inputs.step);
  y.label = cross_entropy(widened(y.logits), inputs.labels);
  y.labels = y.teacher.label.empty() ? y.label : add(y.label, y.teacher.label);
  return y;
}

Tensor EmbeddedPair::teacher_logits(const Teacher& seen) const {
  if (embedding_) return seen.logits;
  const NoGrad guard;
  return teacher_.logits(Var(seen.features), Mode::eval).value;
}

}  // namespace coss
