// RKD: the loss on inner products of centered rows, the options, the method on pooled features or embeddings.
#include "losses/rkd.h"

#include "autograd/ops.h"
#include "losses/frame/drawn.h"
#include "losses/frame/fused.h"
#include "losses/frame/map_method.h"
#include "losses/frame/relations.h"
#include "losses/frame/views.h"

namespace coss {

LossTerms rkd_loss(const RkdParams& params, const Var& student, const Tensor& teacher) {
  check_same_rows("rkd", student.value, teacher);
  const Var of_student = gram(centered_over_batch(student));
  const Tensor of_teacher = gram(centered_over_batch(Var(teacher))).value;
  return fused_loss(of_student, 3, [&](Tensor& terms, Tensor& dgram) {
    kernels(terms).rkd_loss(context(terms.device()), params, of_student.value, of_teacher, terms, dgram);
  });
}

namespace {

struct RkdOptions {
  LabeledOptions weights = {};
  RkdParams loss = {};
  EmbeddingOptions embedding = {};

  void list(OptionList& row) {
    weights.list(row, "weight of distances and angles together");
    row.number("distance_weight", loss.distance_weight, "weight of the distances");
    row.number("angle_weight", loss.angle_weight, "weight of the angles");
    embedding.list(row, "width of the embeddings that are compared on both sides; 0: features");
  }
};

class RkdMethod : public MapMethod {
 public:
  RkdMethod(const RkdOptions& options, const MethodParts& parts)
      : MapMethod("relations", options.weights, parts), loss_(options.loss) {}

 private:
  Var distance(const Seen& seen) override {
    return rkd_loss(loss_, flat_rows(seen.student), flat_rows(seen.teacher).value).total;
  }

  RkdParams loss_;
};

std::unique_ptr<Method> make_rkd(const MethodOptions& values, const MethodParts& parts) {
  const auto options = read<RkdOptions>(values);
  if (options.embedding.width == 0) return std::make_unique<RkdMethod>(options, parts);
  return std::make_unique<EmbeddedRelation>("relations", options.weights, options.embedding, parts,
                                            [loss = options.loss](const EmbeddedPair::Output& seen) {
                                              return rkd_loss(loss, seen.student, seen.teacher.embedding).total;
                                            });
}

}  // namespace

MethodInfo rkd_method() {
  return {.name = "rkd",
          .paper = "Park et al., Relational Knowledge Distillation, CVPR 2019",
          .needs = {.teacher = true, .labels = true},
          .options = rows_of<RkdOptions>(),
          .make = make_rkd,
          .views = teachers_view,
          .loss_alone = [](DrawnInputs& in) -> LossCall {
            return [s = in.student(), t = in.teacher()] { return rkd_loss({}, s, t); };
          }};
}

}  // namespace coss
