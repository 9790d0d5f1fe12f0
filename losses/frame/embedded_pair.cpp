// The layers on both sides, and one pass through all of them.
#include "losses/frame/embedded_pair.h"

#include "autograd/ops.h"

namespace coss {
namespace {

constexpr uint64_t kSeedOfCompanion = 0x6e6365;  // other first values than the student's

}  // namespace

EmbeddedPair::EmbeddedPair(const MethodOptions& options, const MethodParts& parts)
    : student_(parts.student), teacher_(*parts.teacher), classes_(parts.classes) {
  const int64_t width = options.whole("embedding"), in = student_.feature_width, out = teacher_.feature_width;
  COSS_CHECK(width >= 0, "method.embedding must not be negative");
  if (width > 0 || in != out) head_ = mlp_head(parts.scope / "embedding", 1, in, 0, width > 0 ? width : out);
  if (width == 0) return;
  const Scope scope(params_);
  embedding_ = std::make_unique<Linear>(scope, "embedding", LinearOptions(out, width));
  classifier_ = std::make_unique<Linear>(scope, "classifier", LinearOptions(width, classes_));
}

void EmbeddedPair::prepare(Device device, DType compute, uint64_t seed) {
  if (embedding_) params_.allocate(device, compute, seed ^ kSeedOfCompanion);
}

EmbeddedPair::Output EmbeddedPair::operator()(const StepInputs& inputs) {
  Output y;
  const Var target(frozen_features(teacher_, inputs.views.back()));
  y.features = student_.features(Var(inputs.views[0]), Mode::train, inputs.step);
  y.student = accumulated(through(head_, y.features));
  y.logits = student_.logits(y.features, Mode::train, inputs.step);
  y.labels = cross_entropy(widened(y.logits), inputs.labels);
  y.classification = y.labels.value;
  if (embedding_) {
    const Var embedded = (*embedding_)(target);
    const Var logits = (*classifier_)(embedded);
    const Var of_teacher = cross_entropy(widened(logits), inputs.labels);
    y.labels = add(y.labels, of_teacher);
    y.teacher_classification = of_teacher.value;
    y.teacher = accumulated(Var(embedded.value)).value;
    y.teacher_logits = logits.value;
  } else {
    y.teacher = accumulated(target).value;
    if (teacher_.classes > 0) {
      const NoGrad guard;
      y.teacher_logits = teacher_.logits(target, Mode::eval).value;
    }
  }
  return y;
}

}  // namespace coss
