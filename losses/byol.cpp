// BYOL: online network, averaged target, and the cosines of both directions.
#include "losses/byol.h"

#include <algorithm>

#include "autograd/ops.h"
#include "losses/coss.h"
#include "losses/frame/fused.h"
#include "losses/frame/scheduled.h"

namespace coss {

namespace {

HeadMaker projector_of(const MethodOptions& options, const MethodParts& parts) {
  const ProjectionOptions made =
      projection_of("byol", parts.student.feature_width, options.whole("head_hidden"), options.whole("dim"));
  return [made](const Scope& scope) { return std::make_unique<ProjectionHead>(scope / "head", made); };
}

}  // namespace

LossTerms byol_loss(const Var& first, const Tensor& second_target, const Var& second, const Tensor& first_target) {
  const CossParams rows_alone{.scale = 2, .row_weight = 1, .column_weight = 0};
  const Var forth = coss_loss(rows_alone, widened(first), widened(Var(second_target)).value).total;
  const Var back = coss_loss(rows_alone, widened(second), widened(Var(first_target)).value).total;
  return joined(add(forth, back), {forth.value, back.value});
}

ByolMethod::ByolMethod(const MethodOptions& options, const MethodParts& parts)
    : student_(parts.student),
      momentum_(options["momentum"]),
      total_(double(std::max<int64_t>(parts.total_steps, 1))),
      projector_(projector_of(options, parts)(parts.scope)),
      target_(parts, options.real("momentum"), projector_of(options, parts)),
      predictor_(std::make_unique<ProjectionHead>(
          parts.scope / "predictor",
          projection_of("byol", options.whole("dim"), options.whole("head_hidden"), options.whole("dim")))) {}

void ByolMethod::prepare(Device device, DType compute, uint64_t) {
  target_.prepare(device, compute);
  share_ = Tensor({1}, accumulator_of(compute), device);
  kernels(device).fill(context(device), 1 - momentum_, share_);
}

std::vector<StateTensor> ByolMethod::state() {
  std::vector<StateTensor> state;
  target_.add_state(state);
  return state;
}

LossTerms ByolMethod::forward(const StepInputs& inputs) {
  kernels(share_).cast(context(share_.device()),
                       straight(1 - momentum_, half_cosine(inputs.step, total_, share_.dtype()), 0), share_);
  Tensor first_features;
  Var guesses[2];
  Tensor targets[2];
  for (size_t v = 0; v < 2; ++v) {
    targets[v] = target_(inputs.views[v], inputs.step);
    const Var features = student_.features(Var(inputs.views[v]), Mode::train, inputs.step);
    if (v == 0) first_features = features.value;
    guesses[v] = (*predictor_)((*projector_)(features, Mode::train), Mode::train);
  }
  LossTerms terms = byol_loss(guesses[0], targets[1], guesses[1], targets[0]);
  terms.student = first_features;
  return terms;
}

}  // namespace coss
