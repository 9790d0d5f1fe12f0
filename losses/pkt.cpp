// PKT: the loss on cosines of rows, the options, the method on pooled features or embeddings.
#include "losses/pkt.h"

#include "autograd/ops.h"
#include "losses/frame/drawn.h"
#include "losses/frame/fused.h"
#include "losses/frame/map_method.h"
#include "losses/frame/relations.h"
#include "losses/frame/views.h"

namespace coss {

LossTerms pkt_loss(const Var& student, const Tensor& teacher) {
  constexpr float kEps = 1e-7f;
  check_same_rows("pkt", student.value, teacher);
  const Var of_student = gram(normalize_rows(kEps, student));
  const Tensor of_teacher = gram(normalize_rows(kEps, Var(teacher))).value;
  return fused_loss(of_student, 1, [&](Tensor& loss, Tensor& dcosines) {
    kernels(loss).pkt_loss(context(loss.device()), of_student.value, of_teacher, loss, dcosines);
  });
}

namespace {

struct PktOptions {
  LabeledOptions weights{.weight = 30000};
  EmbeddingOptions embedding = {};

  void list(OptionList& row) {
    weights.list(row, "weight of the divergence");
    embedding.list(row, "width of the embeddings that are compared on both sides; 0: features");
  }
};

class PktMethod : public MapMethod {
 public:
  PktMethod(const PktOptions& options, const MethodParts& parts) : MapMethod("divergence", options.weights, parts) {}

 private:
  Var distance(const Seen& seen) override {
    return pkt_loss(flat_rows(seen.student), flat_rows(seen.teacher).value).total;
  }
};

std::unique_ptr<Method> make_pkt(const MethodOptions& values, const MethodParts& parts) {
  const auto options = read<PktOptions>(values);
  if (options.embedding.width == 0) return std::make_unique<PktMethod>(options, parts);
  return std::make_unique<EmbeddedRelation>(
      "divergence", options.weights, options.embedding, parts,
      [](const EmbeddedPair::Output& seen) { return pkt_loss(seen.student, seen.teacher.embedding).total; });
}

}  // namespace

MethodInfo pkt_method() {
  return {.name = "pkt",
          .paper = "Passalis and Tefas, Learning Deep Representations with Probabilistic Knowledge Transfer, ECCV 2018",
          .needs = {.teacher = true, .labels = true},
          .options = rows_of<PktOptions>(),
          .make = make_pkt,
          .views = teachers_view,
          .loss_alone = [](DrawnInputs& in) -> LossCall {
            return [s = in.student(), t = in.teacher()] { return pkt_loss(s, t); };
          }};
}

}  // namespace coss
