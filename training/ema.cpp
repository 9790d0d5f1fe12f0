// The averages are flat copies of the three ranges of parameters.
#include "training/ema.h"

namespace coss {
namespace {

void copy(const Tensor& from, Tensor& to) { kernels(from).cast(context(from.device()), from, to); }

Tensor clone(const Tensor& x) {
  Tensor y(x.shape(), x.dtype(), x.device());
  copy(x, y);
  return y;
}

void exchange(Tensor& a, Tensor& b) {
  const Tensor saved = clone(a);
  copy(b, a);
  copy(saved, b);
}

}  // namespace

Ema::Ema(Params& params, float decay)
    : decay_(decay),
      weights_(clone(params.weights().value)),
      rest_(clone(params.rest().value)),
      stats_(clone(params.stats())) {}

void Ema::step(Params& params) {
  Context& ctx = context(params.device());
  kernels(params.device()).ema_step(ctx, decay_, params.weights().value, weights_);
  kernels(params.device()).ema_step(ctx, decay_, params.rest().value, rest_);
  copy(params.stats(), stats_);
}

void Ema::swap(Params& params) {
  exchange(params.weights().value, weights_);
  exchange(params.rest().value, rest_);
  exchange(params.stats(), stats_);
  params.refresh_compute();
}

std::vector<StateTensor> Ema::state() const {
  return {{"weights.average", weights_}, {"rest.average", rest_}, {"stats.average", stats_}};
}

}  // namespace coss
