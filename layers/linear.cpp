// Linear: registers its parameters.
#include "layers/linear.h"

namespace coss {

Linear::Linear(const Scope& scope, const std::string& name, const LinearOptions& options) {
  scope.params().add_weight(scope.name(name + ".weight"), {options.out, options.in}, options.layout, options.weight,
                            &weight_);
  if (options.with_bias) scope.params().add_rest(scope.name(name + ".bias"), {options.out}, options.bias, &bias_);
}

}  // namespace coss
