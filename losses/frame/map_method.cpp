// Both networks' stages, the labels, the sum of stages.
#include "losses/frame/map_method.h"

#include "autograd/ops.h"
#include "losses/frame/fused.h"
#include "losses/frame/heads.h"

namespace coss {

MapMethod::MapMethod(const char* term, const LabeledOptions& weights, const MethodParts& parts)
    : student_(parts.student), teacher_(*parts.teacher), term_(term), weights_(weights) {}

std::vector<std::string> MapMethod::term_names() const {
  if (weights_.label_weight == 0) return {"total", term_};
  return {"total", term_, "label"};
}

LossTerms MapMethod::forward(const StepInputs& inputs) {
  Seen seen{.student = {}, .teacher = {}, .student_stages = {}, .teacher_stages = {}, .inputs = inputs};
  // The last view: the teacher's own where a method gives it one.
  seen.teacher = Var(frozen_features(teacher_, inputs.views.back(), &seen.teacher_stages));
  seen.student = student_.features(Var(inputs.views[0]), Mode::train, inputs.step, &seen.student_stages);
  const Var apart = distance(seen), label = label_loss(weights_.label_weight, student_, seen.student, inputs);
  return joined(weighted_sum({{weights_.weight, apart}, {weights_.label_weight, label}}), {apart.value, label.value})
      .with_features(seen.student, seen.teacher.value);
}

StagesMethod::StagesMethod(const char* method, const char* term, const LabeledOptions& weights,
                           const MethodParts& parts)
    : MapMethod(term, weights, parts) {
  const std::vector<Shape> student = stage_shapes(parts.twin, parts.image_size);
  const std::vector<Shape> teacher = stage_shapes(parts.teacher_twin, parts.image_size);
  matching_ = matching_stages(method, student, teacher);
  for (const auto& [s, t] : matching_) shapes_.emplace_back(student[s], teacher[t]);
}

Var StagesMethod::distance(const Seen& seen) {
  Var sum;
  for (size_t i = 0; i < matching_.size(); ++i) {
    const auto& [s, t] = matching_[i];
    const MapPair pair = of_one_size(seen.student_stages[s], seen.teacher_stages[t]);
    const Var own = distance_of(i, pair.student, pair.teacher);
    sum = sum.empty() ? own : add(sum, own);
  }
  return sum;
}

}  // namespace coss
