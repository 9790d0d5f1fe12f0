// DIST: a Pearson correlation is the cosine of centered vectors, so the rows of CoSS's kernel give both terms.
#include "losses/dist.h"

#include "autograd/ops.h"
#include "losses/coss.h"
#include "losses/frame/drawn.h"
#include "losses/frame/fused.h"

namespace coss {

namespace {

// 1 - the mean correlation of rows.
Var distance_of_rows(const Var& student, const Var& teacher) {
  const Var negative =
      coss_loss({.scale = 1, .row_weight = 1, .column_weight = 0}, center_rows(student), center_rows(teacher).value)
          .total;
  Var one(Tensor({1}, negative.value.dtype(), negative.value.device()));
  kernels(one.value).fill(context(one.value.device()), 1, one.value);
  return add(negative, one);
}

}  // namespace

LossTerms dist_loss(const DistParams& params, const Var& student, const Tensor& teacher) {
  check_alike("dist", student.value, teacher);
  const Var of_student = softmax(params.temperatures.student, accumulated(student));
  const Var of_teacher = softmax(params.temperatures.teacher, accumulated(Var(teacher)));
  const Var rows = distance_of_rows(of_student, of_teacher);
  const Var columns = distance_of_rows(transpose(of_student), transpose(of_teacher));
  return joined(weighted_sum({{params.row_weight, rows}, {params.column_weight, columns}}),
                {rows.value, columns.value});
}

namespace {

struct DistOptions {
  DistParams loss = {};
  HeadOptions head = {};

  void list(OptionList& row) {
    loss.temperatures.list(row);
    row.number("row_weight", loss.row_weight, "weight of the term per image");
    row.number("column_weight", loss.column_weight, "weight of the term per feature dimension");
    head.list(row);
  }
};

class DistMethod : public FeatureMethod {
 public:
  DistMethod(const DistOptions& options, const MethodParts& parts)
      : FeatureMethod(options.head, parts), loss_(options.loss) {}
  std::vector<std::string> term_names() const override { return {"total", "row", "column"}; }

 private:
  LossTerms loss(const Var& student, const Tensor& teacher) const override {
    return dist_loss(loss_, student, teacher);
  }

  DistParams loss_;
};

}  // namespace

MethodInfo dist_method() {
  return {
      .name = "dist",
      .paper = "Huang et al., Knowledge Distillation from A Stronger Teacher, NeurIPS 2022, over feature dimensions",
      .needs = {.teacher = true},
      .options = rows_of<DistOptions>(),
      .make = build<DistMethod, DistOptions>,
      .loss_alone = [](DrawnInputs& in) -> LossCall {
        return [s = in.student(), t = in.teacher()] { return dist_loss({.temperatures = {1, 1}}, s, t); };
      }};
}

}  // namespace coss
