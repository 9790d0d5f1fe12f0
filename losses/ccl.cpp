// CCL: NCE and the symmetric divergence of logits; the options, the method.
#include "losses/ccl.h"

#include "autograd/ops.h"
#include "losses/frame/embedded_pair.h"
#include "losses/frame/fused.h"
#include "losses/frame/views.h"
#include "losses/nce.h"

namespace coss {
namespace {

struct CclOptions {
  float weight = 1, temperature = 0.1f;
  EmbeddingOptions embedding{.teacher_view = true, .width = 256};

  void list(OptionList& row) {
    row.number("weight", weight, "weight of the contrast and the divergence, beside the cross-entropy with labels");
    row.positive("temperature", temperature, "the cosines are divided by it");
    embedding.list(row, "width of the embeddings of both sides; 0: features and logits are the teacher's own");
  }
};

class CclMethod : public Method {
 public:
  CclMethod(const CclOptions& options, const MethodParts& parts)
      : networks_(options.embedding, parts), weight_(options.weight), temperature_(options.temperature) {
    COSS_CHECK(networks_.teacher_classes() == parts.student.classes,
               "the method ccl compares logits: the student has " + std::to_string(parts.student.classes) +
                   " classes, the teacher " + std::to_string(networks_.teacher_classes()) +
                   "; with method.embedding=256 a classifier is trained behind the teacher");
  }

  LossTerms forward(const StepInputs& inputs) override {
    const EmbeddedPair::Output seen = networks_(inputs);
    const Var nce = nce_loss(temperature_, seen.student, seen.teacher.embedding, inputs.labels).total;
    const Var logits = widened(seen.logits);
    const Tensor target = widened(Var(networks_.teacher_logits(seen.teacher))).value;
    const Var divergence =
        fused_loss(logits, 1, [&](Tensor& loss, Tensor& dlogits) {
          kernels(loss).soft_cross_entropy(context(loss.device()), {.kind = SoftCrossEntropyParams::symmetric},
                                           logits.value, target, loss, dlogits);
        }).total;
    return joined(weighted_sum({{1, seen.labels}, {weight_, nce}, {weight_, divergence}}),
                  {seen.label.value, nce.value, divergence.value, seen.teacher.label.value})
        .with_features(seen.features, seen.teacher.features);
  }
  std::vector<std::string> term_names() const override {
    if (networks_.learns()) return {"total", "label", "nce", "divergence", "teacher_label"};
    return {"total", "label", "nce", "divergence"};
  }
  void prepare(Device device, DType compute, uint64_t seed) override { networks_.prepare(device, compute, seed); }
  Params* companion() override { return networks_.companion(); }

 private:
  EmbeddedPair networks_;
  float weight_, temperature_;
};

}  // namespace

MethodInfo ccl_method() {
  return {.name = "ccl",
          .paper = "Chen et al., Distilling Audio-Visual Knowledge by Compositional Contrastive Learning, CVPR 2021",
          .needs = {.teacher = true, .labels = true},
          .options = rows_of<CclOptions>(),
          .make = build<CclMethod, CclOptions>,
          .views = teachers_view};
}

}  // namespace coss
