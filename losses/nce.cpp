// NCE: the loss as one operation, the options, the method.
#include "losses/nce.h"

#include "autograd/ops.h"
#include "losses/frame/drawn.h"
#include "losses/frame/embedded_pair.h"
#include "losses/frame/fused.h"
#include "losses/frame/views.h"

namespace coss {

LossTerms nce_loss(float temperature, const Var& student, const Tensor& teacher, const Tensor& labels) {
  check_alike("nce", student.value, teacher);
  const Var cosines = product(normalize_rows(kSmallestNorm, student), normalize_rows(kSmallestNorm, Var(teacher)));
  return fused_loss(cosines, 1, [&](Tensor& loss, Tensor& dcosines) {
    kernels(loss).nce_loss(context(loss.device()), temperature, cosines.value, labels, loss, dcosines);
  });
}

namespace {

struct NceOptions {
  float weight = 1, temperature = 0.1f;
  EmbeddingOptions embedding{.teacher_view = true, .width = 256};

  void list(OptionList& row) {
    row.number("weight", weight, "weight of the contrast, beside the cross-entropy with labels");
    row.positive("temperature", temperature, "the cosines are divided by it");
    embedding.list(row, "width of the embeddings of both sides; 0: the student's features follow the teacher's");
  }
};

class NceMethod : public Method {
 public:
  NceMethod(const NceOptions& options, const MethodParts& parts)
      : networks_(options.embedding, parts), weight_(options.weight), temperature_(options.temperature) {}

  LossTerms forward(const StepInputs& inputs) override {
    const EmbeddedPair::Output seen = networks_(inputs);
    const Var nce = nce_loss(temperature_, seen.student, seen.teacher.embedding, inputs.labels).total;
    return joined(weighted_sum({{1, seen.labels}, {weight_, nce}}),
                  {seen.label.value, nce.value, seen.teacher.label.value})
        .with_features(seen.features, seen.teacher.features);
  }
  std::vector<std::string> term_names() const override {
    if (networks_.learns()) return {"total", "label", "nce", "teacher_label"};
    return {"total", "label", "nce"};
  }
  void prepare(Device device, DType compute, uint64_t seed) override { networks_.prepare(device, compute, seed); }
  Params* companion() override { return networks_.companion(); }

 private:
  EmbeddedPair networks_;
  float weight_, temperature_;
};

}  // namespace

MethodInfo nce_method() {
  return {.name = "nce",
          .paper =
              "contrast with labels, as in Ma et al., Distilling Knowledge from Self-Supervised Teacher by "
              "Embedding Graph Alignment, BMVC 2022",
          .needs = {.teacher = true, .labels = true},
          .options = rows_of<NceOptions>(),
          .make = build<NceMethod, NceOptions>,
          .views = teachers_view,
          .loss_alone = [](DrawnInputs& in) -> LossCall {
            return [s = in.student(), t = in.teacher(), labels = in.labels()] { return nce_loss(0.1f, s, t, labels); };
          }};
}

}  // namespace coss
