// VID: the loss of one stage as one operation, the options, the method with its guesses.
#include "losses/vid.h"

#include <cmath>
#include <memory>

#include "layers/linear.h"
#include "losses/frame/drawn.h"
#include "losses/frame/fused.h"
#include "losses/frame/map_method.h"

namespace coss {
namespace {

constexpr float kEps = 1e-5f, kFirstVariance = 5;

}  // namespace

LossTerms vid_loss(const Var& guess, const Var& spread, const Tensor& teacher) {
  check_alike("vid", guess.value, teacher);
  COSS_CHECK(
      spread.shape() == Shape{teacher.shape().back()},
      "[vid] " + std::to_string(teacher.shape().back()) + " channels, but the spread is " + spread.shape().str());
  return fused_loss(guess, spread, 1, [&](Tensor& loss, Tensor& dguess, Tensor& dspread) {
    const Kernels& k = kernels(loss);
    Context& ctx = context(loss.device());
    k.fill(ctx, 0, dspread);
    k.vid_loss(ctx, kEps, guess.value, spread.value, teacher, loss, dguess, dspread);
  });
}

namespace {

struct VidOptions {
  LabeledOptions weights = {};

  void list(OptionList& row) { weights.list(row, "weight of the likelihoods of all stages"); }
};

LinearOptions pointwise(int64_t in, int64_t out) {
  LinearOptions options(in, out);
  options.with_bias = false;
  options.layout = FileLayout::pointwise;
  return options;
}

class VidMethod : public StagesMethod {
 public:
  VidMethod(const VidOptions& options, const MethodParts& parts)
      : StagesMethod("vid", "information", options.weights, parts) {
    for (const auto& [student, teacher] : shapes_)
      stages_.push_back(std::make_unique<Stage>(parts.scope / "regressor" / std::to_string(stages_.size()),
                                                student.back(), teacher.back()));
  }

 private:
  struct Stage {
    Linear first, second, third;  // 1x1 convolutions
    Var spread;

    Stage(const Scope& scope, int64_t in, int64_t out)
        : first(scope, "0", pointwise(in, out)),
          second(scope, "2", pointwise(out, out)),
          third(scope, "4", pointwise(out, out)) {
      const Init start{Init::constant, std::log(std::expm1(kFirstVariance - kEps))};
      scope.params().add_rest(scope.name("spread"), {out}, start, &spread);
    }
  };

  Var distance_of(size_t pair, const Var& student, const Var& teacher) override {
    const Stage& stage = *stages_[pair];
    const Var guess = stage.third(stage.second(stage.first(student, Activation::relu), Activation::relu));
    return vid_loss(guess, stage.spread, teacher.value).total;
  }

  std::vector<std::unique_ptr<Stage>> stages_;
};

}  // namespace

MethodInfo vid_method() {
  return {.name = "vid",
          .paper = "Ahn et al., Variational Information Distillation for Knowledge Transfer, CVPR 2019",
          .needs = {.teacher = true, .labels = true},
          .options = rows_of<VidOptions>(),
          .make = build<VidMethod, VidOptions>,
          .loss_alone = [](DrawnInputs& in) -> LossCall {
            const Var spread = in.variable(in.constant({in.sizes.channels}));
            return [s = in.student_map(), t = in.teacher_map(), spread] { return vid_loss(s, spread, t); };
          }};
}

}  // namespace coss
