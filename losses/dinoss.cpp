// Rows and columns, each as `dino` compares them; the options, the method.
#include "losses/dinoss.h"

#include "autograd/ops.h"
#include "losses/dino.h"
#include "losses/frame/drawn.h"
#include "losses/frame/fused.h"

namespace coss {

LossTerms dinoss_loss(const Temperatures& temperatures, float column_weight, const Var& student,
                      const Tensor& teacher) {
  check_alike("dinoss", student.value, teacher);
  const Var rows = dino_loss(temperatures, student, teacher).total;
  const Var columns = dino_loss(temperatures, transpose(student), transpose(Var(teacher)).value).total;
  return joined(weighted_sum({{1, rows}, {column_weight, columns}}), {rows.value, columns.value});
}

namespace {

struct DinossOptions {
  Temperatures temperatures = {};
  float column_weight = 0.5f;
  HeadOptions head = {};

  void list(OptionList& row) {
    temperatures.list(row);
    row.number("column_weight", column_weight, "weight of the term per feature dimension");
    head.list(row);
  }
};

class DinossMethod : public FeatureMethod {
 public:
  DinossMethod(const DinossOptions& options, const MethodParts& parts)
      : FeatureMethod(options.head, parts), options_(options) {}
  std::vector<std::string> term_names() const override { return {"total", "row", "column"}; }

 private:
  LossTerms loss(const Var& student, const Tensor& teacher) const override {
    return dinoss_loss(options_.temperatures, options_.column_weight, student, teacher);
  }

  DinossOptions options_;
};

}  // namespace

MethodInfo dinoss_method() {
  return {.name = "dinoss",
          .paper = "dino and the same over the batch, as in Singh and Wang, ECCV 2024",
          .needs = {.teacher = true},
          .options = rows_of<DinossOptions>(),
          .make = build<DinossMethod, DinossOptions>,
          .loss_alone = [](DrawnInputs& in) -> LossCall {
            return [s = in.student(), t = in.teacher()] { return dinoss_loss({}, 0.5f, s, t); };
          }};
}

}  // namespace coss
