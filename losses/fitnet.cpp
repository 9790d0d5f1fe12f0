// FitNet: the options, the method with its regressor.
#include "losses/fitnet.h"

#include "autograd/ops.h"
#include "layers/conv_norm.h"
#include "losses/frame/drawn.h"
#include "losses/frame/fused.h"
#include "losses/frame/map_method.h"
#include "losses/frame/relations.h"
#include "losses/frame/views.h"

namespace coss {
namespace {

struct FitnetOptions {
  LabeledOptions weights{.weight = 100};
  int64_t layer = 2;
  EmbeddingOptions embedding{.width = 256};  // for layer 0

  void list(OptionList& row) {
    weights.list(row, "weight of the distance; 1 for layer 0");
    row.count("layer", layer, "stage whose maps are compared, from 1; 0: embeddings of the pooled features",
              /*least=*/0);
    row.flag("teacher_view", embedding.teacher_view,
             "only with layer 0: the teacher sees a view of its own, the second");
    row.count("embedding", embedding.width,
              "layer 0: width of the embeddings of both sides; 0: the teacher's features themselves", /*least=*/0);
    embedding.companion.list(row, "the teacher's embedding", "layer 0: ");
  }
};

class FitnetMethod : public MapMethod {
 public:
  FitnetMethod(const FitnetOptions& options, const MethodParts& parts)
      : MapMethod("hint", options.weights, parts), stage_(size_t(options.layer - 1)) {
    COSS_CHECK(!options.embedding.teacher_view,
               "maps of different views have nothing to do with each other: "
               "method.teacher_view=1 goes with method.layer=0");
    const std::vector<Shape> student = stage_shapes(parts.twin, parts.image_size);
    const std::vector<Shape> teacher = stage_shapes(parts.teacher_twin, parts.image_size);
    const std::string layer = "method.layer=" + std::to_string(options.layer);
    COSS_CHECK(stage_ < student.size() && stage_ < teacher.size(),
               layer + ": the student has " + std::to_string(student.size()) + " stages, the teacher " +
                   std::to_string(teacher.size()));
    const Shape &s = student[stage_], &t = teacher[stage_];
    const bool same = s.rank == 4 && t.rank == 4 && s[1] == t[1] && s[2] == t[2];
    const bool twice = s.rank == 4 && t.rank == 4 && s[1] == 2 * t[1] && s[2] == 2 * t[2];
    COSS_CHECK(same || twice,
               "the method fitnet wants the student's map as large as the teacher's or twice as large, and at " +
                   layer + " the student's is " + s.str() + ", the teacher's " + t.str() +
                   ": choose another method.layer");
    regressor_ = std::make_unique<ConvNorm>(parts.scope / "regressor", "conv", "bn",
                                            same_conv(s[3], t[3], same ? 1 : 3, same ? 1 : 2, Activation::relu));
  }

 private:
  Var distance(const Seen& seen) override {
    const Var guess = (*regressor_)(seen.student_stages[stage_], Mode::train);
    return mse_loss("fitnet", widened(guess), widened(seen.teacher_stages[stage_]).value).total;
  }

  size_t stage_;
  std::unique_ptr<ConvNorm> regressor_;
};

std::unique_ptr<Method> make_fitnet(const MethodOptions& values, const MethodParts& parts) {
  const auto options = read<FitnetOptions>(values);
  if (options.layer > 0) return std::make_unique<FitnetMethod>(options, parts);
  return std::make_unique<EmbeddedRelation>(
      "hint", options.weights, options.embedding, parts,
      [](const EmbeddedPair::Output& seen) { return mse_loss("fitnet", seen.student, seen.teacher.embedding).total; });
}

}  // namespace

MethodInfo fitnet_method() {
  return {.name = "fitnet",
          .paper = "Romero et al., FitNets: Hints for Thin Deep Nets, ICLR 2015",
          .needs = {.teacher = true, .labels = true},
          .options = rows_of<FitnetOptions>(),
          .make = make_fitnet,
          .views = teachers_view,
          .loss_alone = [](DrawnInputs& in) -> LossCall {
            return [s = in.student_map(), t = in.teacher_map()] { return mse_loss("fitnet", s, t); };
          }};
}

}  // namespace coss
