// KD: one kernel for the divergence, one for the labels; the options, the method.
#include "losses/kd.h"

#include "autograd/ops.h"
#include "losses/frame/drawn.h"
#include "losses/frame/embedded_pair.h"
#include "losses/frame/fused.h"
#include "losses/frame/labels.h"
#include "losses/frame/logits.h"
#include "losses/frame/relations.h"
#include "losses/frame/views.h"

namespace coss {

LossTerms kd_loss(float temperature, const Var& student, const Tensor& teacher) {
  check_alike("kd", student.value, teacher);
  const SoftCrossEntropyParams p{SoftCrossEntropyParams::divergence, temperature, temperature,
                                 temperature * temperature};
  return fused_loss(student, 1, [&](Tensor& values, Tensor& dstudent) {
    kernels(teacher).soft_cross_entropy(context(teacher.device()), p, student.value, teacher, values, dstudent);
  });
}

namespace {

struct KdOptions {
  float label_weight = 0.1f, distill_weight = 0.9f, temperature = 4;
  EmbeddingOptions embedding = {};

  void list(OptionList& row) {
    list_label_weight(row, label_weight);
    row.number("distill_weight", distill_weight,
               "weight of the divergence from the teacher, times temperature squared");
    row.positive("temperature", temperature, "both networks' logits are divided by it");
    embedding.list(row, "width of an embedding and a classifier that are trained behind the teacher; 0: its own");
  }
};

// Without embeddings: both networks' own classifiers give the logits.
class KdMethod : public Method {
 public:
  KdMethod(const KdOptions& options, const MethodParts& parts)
      : options_(options), student_(parts.student), teacher_(*parts.teacher) {
    check_classifiers("kd", parts);
  }

  LossTerms forward(const StepInputs& inputs) override {
    const LogitPair seen = logits_of(student_, teacher_, inputs);
    const Var distillation = kd_loss(options_.temperature, seen.student, seen.teacher).total;
    const Var label = options_.label_weight == 0 ? Var() : cross_entropy(seen.student, inputs.labels);
    return joined(weighted_sum({{options_.distill_weight, distillation}, {options_.label_weight, label}}),
                  {distillation.value, label.value})
        .with_features(Var(seen.student_features), seen.teacher_features);
  }
  std::vector<std::string> term_names() const override {
    if (options_.label_weight == 0) return {"total", "distillation"};
    return {"total", "distillation", "label"};
  }

 private:
  KdOptions options_;
  Network &student_, &teacher_;
};

std::unique_ptr<Method> make_kd(const MethodOptions& values, const MethodParts& parts) {
  const auto options = read<KdOptions>(values);
  if (options.embedding.width == 0) return std::make_unique<KdMethod>(options, parts);
  const LabeledOptions weights{.weight = options.distill_weight, .label_weight = options.label_weight};
  return std::make_unique<EmbeddedRelation>(
      "distillation", weights, options.embedding, parts,
      [temperature = options.temperature](const EmbeddedPair::Output& seen) {
        return kd_loss(temperature, widened(seen.logits), widened(Var(seen.teacher.logits)).value).total;
      });
}

}  // namespace

MethodInfo kd_method() {
  return {.name = "kd",
          .paper = "Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network, 2015",
          .needs = {.teacher = true, .labels = true, .teacher_logits = true},
          .options = rows_of<KdOptions>(),
          .make = make_kd,
          .views = teachers_view,
          .loss_alone = [](DrawnInputs& in) -> LossCall {
            return [s = in.student_logits(), t = in.teacher_logits()] { return kd_loss(4, s, t); };
          }};
}

}  // namespace coss
