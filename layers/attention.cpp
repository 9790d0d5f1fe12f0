// Attention: registers its parameters; the three steps.
#include "layers/attention.h"

namespace coss {
namespace {

LinearOptions projection_options(const AttentionOptions& options) {
  LinearOptions linear(options.width, options.width);
  linear.weight = options.weight;
  linear.bias = options.bias;
  return linear;
}

// Registers weight and bias of the first layer before the projection, so that files list parameters in the order of
// use.
const Scope& with_qkv(const Scope& scope, const AttentionOptions& options, Var* weight, Var* bias) {
  const int64_t width = options.width;
  scope.params().add_weight(scope.name(options.qkv_weight), {3 * width, width}, FileLayout::plain, options.weight,
                            weight);
  scope.params().add_rest(scope.name(options.qkv_bias), {3 * width}, options.bias, bias);
  return scope;
}

}  // namespace

Attention::Attention(const Scope& scope, const AttentionOptions& options)
    : heads_(options.heads),
      projection_(with_qkv(scope, options, &weight_, &bias_), options.projection, projection_options(options)) {}

Var Attention::operator()(const Var& x, int64_t queries) const {
  const Var qkv = linear(x, weight_, bias_);
  return projection_(attention({.heads = heads_, .queries = queries}, qkv));
}

}  // namespace coss
