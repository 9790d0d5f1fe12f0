// LayerNorm: registers its parameters.
#include "layers/layer_norm.h"

namespace coss {

LayerNorm::LayerNorm(const Scope& scope, const std::string& name, int64_t width, float eps) : eps_(eps) {
  scope.params().add_rest(scope.name(name + ".weight"), {width}, Init::ones(), &gamma_);
  scope.params().add_rest(scope.name(name + ".bias"), {width}, Init::zeros(), &beta_);
}

}  // namespace coss
