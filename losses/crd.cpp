// CRD: the banks and the images by class, the loss as one operation, the options, the method.
#include "losses/crd.h"

#include <cmath>
#include <numeric>

#include "autograd/ops.h"
#include "losses/frame/drawn.h"
#include "losses/frame/fused.h"
#include "losses/frame/heads.h"
#include "losses/frame/labels.h"
#include "losses/frame/queue.h"
#include "losses/frame/views.h"

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

namespace {

struct CrdOptions {
  LabeledOptions weights{.weight = 0.8f};
  int64_t dim = 128;
  BankContrastParams loss = {};
  float momentum = 0.5f;
  bool teacher_view = false;

  void list(OptionList& row) {
    row.number("weight", weights.weight, "weight of the contrast");
    row.number("label_weight", weights.label_weight,
               "weight of the cross-entropy with labels; 0: without, and negatives are any other images");
    row.count("dim", dim, "width of both embeddings");
    row.count("negatives", loss.negatives, "negatives that are drawn for each image");
    row.positive("temperature", loss.temperature, "the cosines are divided by it");
    row.below_one("momentum", momentum, "momentum of the rows of the memory banks");
    row.flag("relaxed", loss.relaxed, "the positive is any image of the class");
    list_teacher_view(row, teacher_view);
  }
};

class CrdMethod : public Method {
 public:
  CrdMethod(const CrdOptions& options, const MethodParts& parts)
      : options_(options),
        loss_(options.loss),
        images_(parts.images),
        classes_(parts.classes),
        labels_(parts.labels),
        student_(parts.student),
        teacher_(*parts.teacher),
        student_head_(mlp_head(parts.scope / "embed_student", 1, student_.feature_width, 0, options.dim)),
        teacher_head_(mlp_head(parts.scope / "embed_teacher", 1, teacher_.feature_width, 0, options.dim)) {
    COSS_CHECK(!loss_.relaxed || uses_labels(), "method.relaxed needs labels, and method.label_weight is 0");
  }

  LossTerms forward(const StepInputs& inputs) override {
    const Tensor target = frozen_features(teacher_, inputs.views.back());
    const Var features = student_.features(Var(inputs.views[0]), Mode::train, inputs.updates);
    const Var student = unit_rows((*student_head_)(features, Mode::train));
    const Var teacher = unit_rows((*teacher_head_)(Var(target), Mode::train));
    const Tensor& labels = uses_labels() ? inputs.labels : inputs.indices;
    const LossTerms contrast =
        crd_loss(loss_, inputs.updates, inputs.indices, labels, order_, student, teacher, banks_);
    Context& ctx = context(target.device());
    kernels(target).bank_update(ctx, options_.momentum, student.value, inputs.indices, banks_.student);
    kernels(target).bank_update(ctx, options_.momentum, teacher.value, inputs.indices, banks_.teacher);

    const auto [weight, label_weight] = options_.weights;
    const Var label = label_loss(label_weight, student_, features, inputs);
    return joined(weighted_sum({{weight, contrast.total}, {label_weight, label}}),
                  {contrast.values.view(1, {1}), contrast.values.view(2, {1}), label.value})
        .with_features(features, target);
  }
  std::vector<std::string> term_names() const override {
    if (!uses_labels()) return {"total", "student", "teacher"};
    return {"total", "student", "teacher", "labels"};
  }

  void prepare(Device device, DType compute, uint64_t seed) override {
    loss_.seed = seed;
    const DType accumulator = accumulator_of(compute);
    Context& ctx = context(device);
    // Without labels, each image is a class of its own.
    std::vector<int32_t> own(static_cast<size_t>(images_));
    std::iota(own.begin(), own.end(), 0);
    order_ = uses_labels() ? order_by_class(labels_, classes_, device) : order_by_class(own, images_, device);
    const float bound = std::sqrt(3 / float(options_.dim));  // rows of about unit length
    for (const uint64_t side : {0, 1}) {
      Tensor& bank = side ? banks_.teacher : banks_.student;
      bank = Tensor({images_, options_.dim}, accumulator, device);
      kernels(device).random_uniform(ctx, seed, 0xC4D0 + side, -bound, bound, bank);
    }
    banks_.constants = Tensor({2}, accumulator, device);
    kernels(device).fill(ctx, 0, banks_.constants);
  }
  std::vector<StateTensor> state() override {
    return {{"student_bank", banks_.student}, {"teacher_bank", banks_.teacher}, {"constants", banks_.constants}};
  }

 private:
  bool uses_labels() const { return options_.weights.label_weight != 0; }

  CrdOptions options_;
  BankContrastParams loss_;
  int64_t images_, classes_;
  std::vector<int32_t> labels_;
  Network &student_, &teacher_;
  std::unique_ptr<ProjectionHead> student_head_, teacher_head_;
  ClassOrder order_;
  CrdBanks banks_;
};

LossCall crd_alone(DrawnInputs& in) {
  std::vector<int32_t> indices(static_cast<size_t>(in.n));
  std::iota(indices.begin(), indices.end(), 0);
  const int64_t bank = in.sizes.bank, width = in.sizes.queue_width;
  const Tensor places = Tensor::from(indices, {in.n}, in.device);
  const Tensor step = Tensor::from(std::vector<int64_t>{1}, {1}, in.device);
  const ClassOrder images = order_by_class(ten_classes(bank), 10, in.device);
  CrdBanks banks{in.directions(bank, width), in.directions(bank, width),
                 Tensor::from(std::vector<float>{0, 0}, {2}, in.device)};
  return [=, s = in.student_embedding(), t = in.variable(in.teacher_embedding()), labels = in.labels(),
          params = BankContrastParams{.negatives = in.sizes.negatives}]() mutable {
    return crd_loss(params, step, places, labels, images, normalize_rows(kSmallestNorm, s),
                    normalize_rows(kSmallestNorm, t), banks);
  };
}

}  // namespace

MethodInfo crd_method() {
  return {.name = "crd",
          .paper = "Tian et al., Contrastive Representation Distillation, ICLR 2020",
          .needs = {.teacher = true, .labels = true},
          .options = rows_of<CrdOptions>(),
          .make = build<CrdMethod, CrdOptions>,
          .views = teachers_view,
          .loss_alone = crd_alone};
}

}  // namespace coss
