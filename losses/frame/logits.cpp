// Logits of student and teacher.
#include "losses/frame/logits.h"

#include "autograd/ops.h"
#include "losses/frame/heads.h"

namespace coss {

void check_classifiers(const std::string& method, const MethodParts& parts) {
  const int64_t student = parts.student.classes, teacher = parts.teacher->classes;
  COSS_CHECK(teacher > 1 && student > 1, "the method " + method + " compares logits, and the " +
                                             (teacher > 1 ? "student" : "teacher") +
                                             " has no classifier; dino compares features instead");
  COSS_CHECK(student == teacher, "the method " + method + " compares logits, and the student has " +
                                     std::to_string(student) + " classes where the teacher has " +
                                     std::to_string(teacher) + ": set student.classes=" + std::to_string(teacher));
}

LogitPair logits_of(Network& student, Network& teacher, const StepInputs& inputs) {
  LogitPair pair;
  pair.teacher_features = frozen_features(teacher, inputs.views[0]);
  {
    const NoGrad guard;
    pair.teacher = widened(teacher.logits(Var(pair.teacher_features), Mode::eval)).value;
  }
  const Var features = student.features(Var(inputs.views[0]), Mode::train, inputs.updates);
  pair.student = widened(student.logits(features, Mode::train, inputs.updates));
  pair.student_features = features.value;
  return pair;
}

}  // namespace coss
