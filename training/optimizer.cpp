// SGD, AdamW and LARS keep their state beside the flat ranges; an update is one kernel call for each range.
#include "training/optimizer.h"

#include "engine/text.h"

namespace coss {
namespace {

Tensor zeros_like(const Tensor& x) {
  Tensor zeros(x.shape(), x.dtype(), x.device());
  kernels(zeros).fill(context(zeros.device()), 0, zeros);
  return zeros;
}

// The kernels take an empty tensor if there is no separate compute copy.
Tensor compute_copy(const FlatRange& range) {
  return range.compute.dtype() == range.value.dtype() ? Tensor() : range.compute;
}

class Sgd : public Optimizer {
 public:
  Sgd(const OptimizerOptions& o, Params& params)
      : weights_{o.momentum, o.weight_decay, o.nesterov},
        rest_{o.momentum, o.decay_rest ? o.weight_decay : 0, o.nesterov},
        weights_momentum_(zeros_like(params.weights().value)),
        rest_momentum_(zeros_like(params.rest().value)) {}

  void step(Params& params, const Tensor& scalars) override {
    update(weights_, scalars, params.weights(), weights_momentum_);
    update(rest_, scalars, params.rest(), rest_momentum_);
  }
  std::vector<StateTensor> state() const override {
    return {{"weights.momentum", weights_momentum_}, {"rest.momentum", rest_momentum_}};
  }

 private:
  static void update(const SgdParams& p, const Tensor& scalars, FlatRange& range, Tensor& momentum) {
    if (range.value.numel() == 0) return;
    Tensor compute = compute_copy(range);
    kernels(scalars).sgd_step(context(scalars.device()), p, scalars, range.grad, momentum, range.value, compute);
  }

  SgdParams weights_, rest_;
  Tensor weights_momentum_, rest_momentum_;
};

class AdamW : public Optimizer {
 public:
  AdamW(const OptimizerOptions& o, Params& params)
      : weights_{o.beta1, o.beta2, o.eps, o.weight_decay},
        rest_{o.beta1, o.beta2, o.eps, o.decay_rest ? o.weight_decay : 0},
        weights_m_(zeros_like(params.weights().value)),
        weights_v_(zeros_like(params.weights().value)),
        rest_m_(zeros_like(params.rest().value)),
        rest_v_(zeros_like(params.rest().value)) {}

  void step(Params& params, const Tensor& scalars) override {
    update(weights_, scalars, params.weights(), weights_m_, weights_v_);
    update(rest_, scalars, params.rest(), rest_m_, rest_v_);
  }
  std::vector<StateTensor> state() const override {
    return {{"weights.m", weights_m_}, {"weights.v", weights_v_}, {"rest.m", rest_m_}, {"rest.v", rest_v_}};
  }

 private:
  static void update(const AdamwParams& p, const Tensor& scalars, FlatRange& range, Tensor& m, Tensor& v) {
    if (range.value.numel() == 0) return;
    Tensor compute = compute_copy(range);
    kernels(scalars).adamw_step(context(scalars.device()), p, scalars, range.grad, m, v, range.value, compute);
  }

  AdamwParams weights_, rest_;
  Tensor weights_m_, weights_v_, rest_m_, rest_v_;
};

class Lars : public Optimizer {
 public:
  Lars(const OptimizerOptions& o, Params& params)
      : weights_{.momentum = o.momentum, .weight_decay = o.weight_decay, .trust = o.trust},
        rest_{.momentum = o.momentum, .weight_decay = o.decay_rest ? o.weight_decay : 0, .adapt = false},
        weights_momentum_(zeros_like(params.weights().value)),
        rest_momentum_(zeros_like(params.rest().value)),
        weights_offsets_(upload(params.weights().offsets, params.device())),
        rest_offsets_(upload(params.rest().offsets, params.device())) {}

  void step(Params& params, const Tensor& scalars) override {
    update(weights_, scalars, weights_offsets_, params.weights(), weights_momentum_);
    update(rest_, scalars, rest_offsets_, params.rest(), rest_momentum_);
  }
  std::vector<StateTensor> state() const override {
    return {{"weights.momentum", weights_momentum_}, {"rest.momentum", rest_momentum_}};
  }

 private:
  static Tensor upload(const std::vector<int64_t>& offsets, Device device) {
    return Tensor::from(offsets, {int64_t(offsets.size())}, device);
  }
  static void update(const LarsParams& p, const Tensor& scalars, const Tensor& offsets, FlatRange& range,
                     Tensor& momentum) {
    if (range.value.numel() == 0) return;
    Tensor compute = compute_copy(range);
    kernels(scalars).lars_step(context(scalars.device()), p, scalars, offsets, range.grad, momentum, range.value,
                               compute);
  }

  LarsParams weights_, rest_;
  Tensor weights_momentum_, rest_momentum_, weights_offsets_, rest_offsets_;
};

}  // namespace

const std::vector<std::string>& optimizer_names() {
  static const std::vector<std::string> names{"sgd", "adamw", "lars"};
  return names;
}

std::unique_ptr<Optimizer> make_optimizer(const OptimizerOptions& options, Params& params) {
  COSS_ASSERT(params.allocated() && !params.weights().grad.empty());
  if (options.name == "sgd") return std::make_unique<Sgd>(options, params);
  if (options.name == "adamw") return std::make_unique<AdamW>(options, params);
  if (options.name == "lars") return std::make_unique<Lars>(options, params);
  throw Error(unknown_name("optimizer", options.name, optimizer_names()));
}

}  // namespace coss
