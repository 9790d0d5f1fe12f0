// SLD: the divergence of KD alone, the options, the method.
#include "losses/sld.h"

#include "losses/frame/logits.h"
#include "losses/kd.h"

namespace coss {
namespace {

struct SldOptions {
  float temperature = 4;

  void list(OptionList& row) { row.positive("temperature", temperature, "both networks' logits are divided by it"); }
};

class SldMethod : public Method {
 public:
  SldMethod(const SldOptions& options, const MethodParts& parts)
      : temperature_(options.temperature), student_(parts.student), teacher_(*parts.teacher) {
    check_classifiers("sld", parts);
  }

  LossTerms forward(const StepInputs& inputs) override {
    const LogitPair seen = logits_of(student_, teacher_, inputs);
    return kd_loss(temperature_, seen.student, seen.teacher)
        .with_features(Var(seen.student_features), seen.teacher_features);
  }
  std::vector<std::string> term_names() const override { return {"total"}; }

 private:
  float temperature_;
  Network &student_, &teacher_;
};

}  // namespace

MethodInfo sld_method() {
  return {.name = "sld",
          .paper = "soft-label distillation: kd without labels, as in Singh and Wang, ECCV 2024",
          .needs = {.teacher = true, .teacher_logits = true},
          .options = rows_of<SldOptions>(),
          .make = build<SldMethod, SldOptions>};
}

}  // namespace coss
