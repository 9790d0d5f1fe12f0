// Cross-entropy of the student's own classifier.
#include "losses/supervised.h"

#include "losses/frame/labels.h"

namespace coss {
namespace {

class SupervisedMethod : public Method {
 public:
  explicit SupervisedMethod(const MethodParts& parts) : student_(parts.student) {}

  LossTerms forward(const StepInputs& inputs) override {
    const Var features = student_.features(Var(inputs.views[0]), Mode::train, inputs.step);
    const Var total = label_loss(/*label_weight=*/1, student_, features, inputs);
    return LossTerms{total, total.value}.with_features(features);
  }
  std::vector<std::string> term_names() const override { return {"total"}; }

 private:
  Network& student_;
};

}  // namespace

MethodInfo supervised_method() {
  return {
      .name = "supervised",
      .paper = "cross-entropy with labels, no teacher",
      .needs = {.labels = true},
      .make = [](const MethodOptions&, const MethodParts& parts) { return std::make_unique<SupervisedMethod>(parts); }};
}

}  // namespace coss
