// The twin's parameters follow in their flat ranges: two kernels an update.
#include "losses/frame/momentum.h"

namespace coss {

MomentumTwin::MomentumTwin(const MethodParts& parts, float momentum, const HeadMaker& head)
    : student_(parts.scope.params()), momentum_(momentum) {
  COSS_ASSERT(parts.twin);
  const Scope scope(params_);
  network_ = parts.twin(scope / "student");
  if (head) head_ = head(scope);
}

void MomentumTwin::prepare(Device device, DType compute) {
  params_.allocate(device, compute, student_.seed(), /*frozen=*/true);
  const auto& own = params_.entries();
  const auto& others = student_.entries();
  for (size_t i = 0; i < own.size(); ++i)
    COSS_ASSERT(i < others.size() && own[i].shape == others[i].shape && own[i].role == others[i].role &&
                own[i].offset == others[i].offset);
  const auto copy = [&](const Tensor& from, Tensor& to) {
    kernels(device).cast(context(device), student_part(from, to), to);
  };
  copy(student_.weights().value, params_.weights().value);
  copy(student_.rest().value, params_.rest().value);
  copy(student_.stats(), params_.stats());
}

Tensor MomentumTwin::operator()(const Tensor& images, const Tensor& step) {
  const NoGrad guard;
  // Here and not in follow(): a resumed run has restored the masters alone.
  params_.refresh_compute();
  const Var features = network_->features(Var(images), Mode::train, step);
  return (head_ ? (*head_)(features, Mode::train) : features).value;
}

void MomentumTwin::follow() {
  Context& ctx = context(params_.device());
  const auto step = [&](const Tensor& from, Tensor& to) {
    kernels(to).ema_step(ctx, momentum_, student_part(from, to), to);
  };
  step(student_.weights().value, params_.weights().value);
  step(student_.rest().value, params_.rest().value);
}

void MomentumTwin::follow(const Tensor& share) {
  Context& ctx = context(params_.device());
  const Kernels& k = kernels(params_.device());
  const auto step = [&](const Tensor& from, Tensor& to) {
    Tensor way(to.shape(), to.dtype(), to.device());
    k.cast(ctx, student_part(from, to), way);
    k.axpy(ctx, -1, to, way);
    k.scale(ctx, share, way);
    k.axpy(ctx, 1, way, to);
  };
  step(student_.weights().value, params_.weights().value);
  step(student_.rest().value, params_.rest().value);
}

void MomentumTwin::add_state(std::vector<StateTensor>& state) {
  state.push_back({"twin.weights", params_.weights().value});
  state.push_back({"twin.rest", params_.rest().value});
  state.push_back({"twin.stats", params_.stats()});
}

}  // namespace coss
