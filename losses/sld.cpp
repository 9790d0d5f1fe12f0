// SLD: the divergence of KD alone.
#include "losses/sld.h"

#include "losses/frame/logits.h"
#include "losses/kd.h"

namespace coss {

SldMethod::SldMethod(const MethodOptions& options, const MethodParts& parts)
    : temperature_(options.real("temperature")), student_(parts.student), teacher_(*parts.teacher) {
  COSS_CHECK(temperature_ > 0, "method.temperature must be above 0");
  check_classifiers("sld", parts);
}

LossTerms SldMethod::forward(const StepInputs& inputs) {
  const LogitPair logits = logits_of(student_, teacher_, inputs);
  LossTerms terms = kd_loss(temperature_, logits.student, logits.teacher);
  terms.student = logits.student_features;
  terms.teacher = logits.teacher_features;
  return terms;
}

}  // namespace coss
