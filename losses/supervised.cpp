// Cross-entropy of the student's own classifier.
#include "losses/supervised.h"

#include "autograd/ops.h"

namespace coss {

LossTerms SupervisedMethod::forward(const StepInputs& inputs) {
  const Var features = student_.features(Var(inputs.views[0]), Mode::train, inputs.step);
  const Var logits = student_.logits(features, Mode::train, inputs.step);
  const Var total = cross_entropy(widened(logits), inputs.labels);
  return {total, total.value, features.value};
}

}  // namespace coss
