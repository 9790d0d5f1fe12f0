// SqueezeExcite: registers its parameters; the gate.
#include "layers/squeeze_excite.h"

namespace coss {
namespace {

LinearOptions pointwise(int64_t in, int64_t out) {
  LinearOptions options(in, out);
  options.weight = Init::kaiming_normal(out);
  options.bias = Init::zeros();
  options.layout = FileLayout::pointwise;
  return options;
}

}  // namespace

SqueezeExcite::SqueezeExcite(const Scope& scope, const SqueezeExciteOptions& options)
    : options_(options),
      reduce_(scope, "fc1", pointwise(options.channels, options.width)),
      expand_(scope, "fc2", pointwise(options.width, options.channels)) {}

Var SqueezeExcite::operator()(const Var& x, Mode mode) const {
  if (mode == Mode::train) return scaled(x);
  const NoGrad frozen;  // eval mode records nothing on a tape
  return scaled(x);
}

Var SqueezeExcite::scaled(const Var& x) const {
  const Var hidden = activation(options_.hidden, reduce_(mean_hw(x)));
  return scale_channels(x, activation(options_.gate, expand_(hidden)));
}

}  // namespace coss
