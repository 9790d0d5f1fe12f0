// Both networks' stages, the labels, the sum of stages.
#include "losses/frame/map_method.h"

#include "autograd/ops.h"
#include "losses/frame/fused.h"
#include "losses/frame/heads.h"

namespace coss {

MapMethod::MapMethod(const char* term, const MethodOptions& options, const MethodParts& parts)
    : student_(parts.student),
      teacher_(*parts.teacher),
      term_(term),
      weight_(options.real("weight")),
      label_weight_(options.real("label_weight")) {
  COSS_CHECK(weight_ >= 0 && label_weight_ >= 0, "method.weight and method.label_weight must not be negative");
}

std::vector<std::string> MapMethod::term_names() const {
  if (label_weight_ == 0) return {"total", term_};
  return {"total", term_, "label"};
}

LossTerms MapMethod::forward(const StepInputs& inputs) {
  const Var images(inputs.views[0]);
  Seen seen;
  seen.step = inputs.step;
  // The last view: the teacher's own where a method gives it one.
  seen.teacher = Var(frozen_features(teacher_, inputs.views.back(), &seen.teacher_stages));
  seen.student = student_.features(images, Mode::train, inputs.step, &seen.student_stages);
  const Var apart = distance(seen);
  LossTerms terms;
  if (label_weight_ == 0) {
    terms = joined(weighted_sum({{weight_, apart}}), {apart.value});
  } else {
    const Var label = cross_entropy(widened(student_.logits(seen.student, Mode::train, inputs.step)), inputs.labels);
    terms = joined(weighted_sum({{weight_, apart}, {label_weight_, label}}), {apart.value, label.value});
  }
  terms.student = seen.student.value;
  terms.teacher = seen.teacher.value;
  return terms;
}

StagesMethod::StagesMethod(const char* term, const MethodOptions& options, const MethodParts& parts)
    : MapMethod(term, options, parts) {
  const std::vector<Shape> student = stage_shapes(parts.twin, parts.image_size);
  const std::vector<Shape> teacher = stage_shapes(parts.teacher_twin, parts.image_size);
  matching_ = matching_stages(options.name.c_str(), student, teacher);
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
