// BYOL: the cosines of both directions, the options, the method with its averaged target.
#include "losses/byol.h"

#include <algorithm>

#include "autograd/ops.h"
#include "losses/coss.h"
#include "losses/frame/drawn.h"
#include "losses/frame/fused.h"
#include "losses/frame/heads.h"
#include "losses/frame/momentum.h"
#include "losses/frame/scheduled.h"
#include "losses/frame/views.h"

namespace coss {

LossTerms byol_loss(const Var& first, const Tensor& second_target, const Var& second, const Tensor& first_target) {
  const CossParams rows_alone{.scale = 2, .row_weight = 1, .column_weight = 0};
  const Var forth = coss_loss(rows_alone, widened(first), widened(Var(second_target)).value).total;
  const Var back = coss_loss(rows_alone, widened(second), widened(Var(first_target)).value).total;
  return joined(add(forth, back), {forth.value, back.value});
}

namespace {

struct ByolOptions {
  double momentum = 0.996;
  int64_t head_hidden = 4096, dim = 256;

  void list(OptionList& row) {
    row.below_one("momentum", momentum, "momentum of the averaged network at first; it rises to 1");
    row.count("head_hidden", head_hidden, "width of the hidden layers of projector and predictor");
    row.count("dim", dim, "width of the projections");
  }

  // Projector and predictor differ in the width of their input alone.
  ProjectionOptions head(int64_t in) const { return projection_of("byol", in, head_hidden, dim); }
};

HeadMaker projector_of(const ByolOptions& options, const MethodParts& parts) {
  const ProjectionOptions made = options.head(parts.student.feature_width);
  return [made](const Scope& scope) { return std::make_unique<ProjectionHead>(scope / "head", made); };
}

class ByolMethod : public Method {
 public:
  ByolMethod(const ByolOptions& options, const MethodParts& parts)
      : student_(parts.student),
        momentum_(options.momentum),
        updates_(double(std::max<int64_t>(parts.total_steps, 1))),
        projector_(projector_of(options, parts)(parts.scope)),
        target_(parts, float(options.momentum), projector_of(options, parts)),
        predictor_(parts.scope / "predictor", options.head(options.dim)) {}

  LossTerms forward(const StepInputs& inputs) override {
    kernels(share_).cast(context(share_.device()),
                         straight(1 - momentum_, half_cosine(inputs.step, updates_, share_.dtype()), 0), share_);
    Var features[2], guesses[2];
    Tensor targets[2];
    for (size_t v = 0; v < 2; ++v) {
      targets[v] = target_(inputs.views[v], inputs.step);
      features[v] = student_.features(Var(inputs.views[v]), Mode::train, inputs.step);
      guesses[v] = predictor_((*projector_)(features[v], Mode::train), Mode::train);
    }
    return byol_loss(guesses[0], targets[1], guesses[1], targets[0]).with_features(features[0]);
  }
  std::vector<std::string> term_names() const override { return {"total", "first", "second"}; }

  void prepare(Device device, DType compute, uint64_t) override {
    target_.prepare(device, compute);
    share_ = Tensor({1}, accumulator_of(compute), device);
    kernels(device).fill(context(device), 1 - momentum_, share_);
  }
  std::vector<StateTensor> state() override {
    std::vector<StateTensor> state;
    target_.add_state(state);
    return state;
  }
  void after_update() override { target_.follow(share_); }

 private:
  Network& student_;
  double momentum_, updates_;  // the latter of the whole run
  std::unique_ptr<ProjectionHead> projector_;
  MomentumTwin target_;
  ProjectionHead predictor_;
  Tensor share_;  // 1 - momentum of the next update
};

}  // namespace

MethodInfo byol_method() {
  return {.name = "byol",
          .paper = "Grill et al., Bootstrap Your Own Latent: A New Approach to Self-supervised Learning, NeurIPS 2020",
          .needs = {},
          .options = rows_of<ByolOptions>(),
          .make = build<ByolMethod, ByolOptions>,
          .views = two_views,
          .loss_alone = [](DrawnInputs& in) -> LossCall {
            return [a = in.student_embedding(), b = in.student_embedding(), c = in.teacher_embedding(),
                    d = in.teacher_embedding()] { return byol_loss(a, c, b, d); };
          }};
}

}  // namespace coss
