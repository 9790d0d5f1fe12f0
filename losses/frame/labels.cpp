// The student's classifier and the labels.
#include "losses/frame/labels.h"

#include "autograd/ops.h"

namespace coss {

Var label_loss(float label_weight, Network& student, const Var& features, const StepInputs& inputs) {
  if (label_weight == 0) return {};
  return cross_entropy(widened(student.logits(features, Mode::train, inputs.step)), inputs.labels);
}

}  // namespace coss
