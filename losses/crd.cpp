// CRD: the banks, the images by class, and the loss with labels.
#include "losses/crd.h"

#include <cmath>
#include <numeric>

#include "autograd/ops.h"
#include "losses/frame/fused.h"
#include "losses/frame/queue.h"

namespace coss {

ClassOrder order_by_class(const std::vector<int32_t>& labels, int64_t classes, Device device) {
  const int64_t images = int64_t(labels.size());
  std::vector<int32_t> begin(size_t(classes) + 1, 0), order(labels.size());
  for (const int32_t label : labels) {
    COSS_CHECK(label >= 0 && label < classes, "every image needs a label from 0 to " + std::to_string(classes - 1) +
                                                  ", one has " + std::to_string(label));
    ++begin[size_t(label) + 1];
  }
  std::partial_sum(begin.begin(), begin.end(), begin.begin());
  std::vector<int32_t> next(begin.begin(), begin.end() - 1);
  for (size_t i = 0; i < labels.size(); ++i) order[size_t(next[size_t(labels[i])]++)] = int32_t(i);
  return {Tensor::from(order, {images}, device), Tensor::from(begin, {classes + 1}, device)};
}

LossTerms crd_loss(const BankContrastParams& params, const Tensor& step, const Tensor& indices, const Tensor& labels,
                   const ClassOrder& images, const Var& student, const Var& teacher, CrdBanks& banks) {
  check_alike("crd", student.value, teacher.value);
  COSS_CHECK(banks.student.shape() == banks.teacher.shape() && banks.student.shape()[1] == student.shape()[1] &&
                 banks.student.shape()[0] == images.order.numel(),
             "[crd] embeddings are " + student.shape().str() + ", the banks " + banks.student.shape().str() + " and " +
                 banks.teacher.shape().str() + " of " + std::to_string(images.order.numel()) + " images");
  return fused_loss(student, teacher, 3, [&](Tensor& values, Tensor& dstudent, Tensor& dteacher) {
    kernels(values).bank_contrast(context(values.device()), params, step, indices, labels, images.order, images.begin,
                                  student.value, teacher.value, banks.student, banks.teacher, banks.constants, values,
                                  dstudent, dteacher);
  });
}

CrdMethod::CrdMethod(const MethodOptions& options, const MethodParts& parts)
    : params_{.negatives = options.whole("negatives"),
              .temperature = options.real("temperature"),
              .relaxed = options["relaxed"] != 0},
      weight_(options.real("weight")),
      label_weight_(options.real("label_weight")),
      momentum_(options.real("momentum")),
      dim_(options.whole("dim")),
      images_(parts.images),
      classes_(parts.classes),
      labels_(parts.labels),
      student_(parts.student),
      teacher_(*parts.teacher) {
  COSS_CHECK(params_.negatives > 0 && params_.temperature > 0 && dim_ > 0,
             "method.negatives, method.temperature and method.dim must be above 0");
  COSS_CHECK(momentum_ >= 0 && momentum_ <= 1, "method.momentum must be between 0 and 1");
  COSS_CHECK(!params_.relaxed || label_weight_ != 0, "method.relaxed needs labels, and method.label_weight is 0");
  student_head_ = mlp_head(parts.scope / "embed_student", 1, student_.feature_width, 0, dim_);
  teacher_head_ = mlp_head(parts.scope / "embed_teacher", 1, teacher_.feature_width, 0, dim_);
}

std::vector<std::string> CrdMethod::term_names() const {
  if (label_weight_ == 0) return {"total", "student", "teacher"};
  return {"total", "student", "teacher", "labels"};
}

void CrdMethod::prepare(Device device, DType compute, uint64_t seed) {
  params_.seed = seed;
  const DType accumulator = accumulator_of(compute);
  Context& ctx = context(device);
  // As if each image were a class, where nobody looks at labels.
  std::vector<int32_t> own(static_cast<size_t>(images_));
  std::iota(own.begin(), own.end(), 0);
  order_ = label_weight_ == 0 ? order_by_class(own, images_, device) : order_by_class(labels_, classes_, device);
  const float bound = std::sqrt(3 / float(dim_));  // rows of about unit length
  for (const uint64_t side : {0, 1}) {
    Tensor& bank = side ? banks_.teacher : banks_.student;
    bank = Tensor({images_, dim_}, accumulator, device);
    kernels(device).random_uniform(ctx, seed, 0xC4D0 + side, -bound, bound, bank);
  }
  banks_.constants = Tensor({2}, accumulator, device);
  kernels(device).fill(ctx, 0, banks_.constants);
}

std::vector<StateTensor> CrdMethod::state() {
  return {{"student_bank", banks_.student}, {"teacher_bank", banks_.teacher}, {"constants", banks_.constants}};
}

LossTerms CrdMethod::forward(const StepInputs& inputs) {
  const Tensor target = frozen_features(teacher_, inputs.views.back());
  const Var features = student_.features(Var(inputs.views[0]), Mode::train, inputs.step);
  const Var student = unit_rows((*student_head_)(features, Mode::train));
  const Var teacher = unit_rows((*teacher_head_)(Var(target), Mode::train));
  const Tensor& labels = label_weight_ == 0 ? inputs.indices : inputs.labels;
  const LossTerms contrast = crd_loss(params_, inputs.step, inputs.indices, labels, order_, student, teacher, banks_);
  Context& ctx = context(target.device());
  kernels(target).bank_update(ctx, momentum_, student.value, inputs.indices, banks_.student);
  kernels(target).bank_update(ctx, momentum_, teacher.value, inputs.indices, banks_.teacher);

  const Tensor sides[2] = {contrast.values.view(1, {1}), contrast.values.view(2, {1})};
  LossTerms terms;
  if (label_weight_ == 0) {
    terms = joined(scale(contrast.total, weight_), {sides[0], sides[1]});
  } else {
    const Var logits = student_.logits(features, Mode::train, inputs.step);
    const Var of_labels = cross_entropy(widened(logits), inputs.labels);
    terms = joined(weighted_sum({{weight_, contrast.total}, {label_weight_, of_labels}}),
                   {sides[0], sides[1], of_labels.value});
  }
  terms.student = features.value;
  terms.teacher = target;
  return terms;
}

}  // namespace coss
