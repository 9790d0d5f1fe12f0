// LayerNorm: brings every row to mean 0 and variance 1, then scales and shifts it.
#pragma once
#include <string>

#include "autograd/ops.h"
#include "layers/params.h"

namespace coss {

class LayerNorm {
 public:
  // Registers scope/name.{weight,bias}. eps is added to the variance.
  LayerNorm(const Scope& scope, const std::string& name, int64_t width, float eps);
  LayerNorm(const LayerNorm&) = delete;
  LayerNorm& operator=(const LayerNorm&) = delete;

  // (…,width) -> the same shape
  Var operator()(const Var& x) const { return layer_norm(eps_, x, gamma_, beta_); }

 private:
  float eps_;
  Var gamma_, beta_;
};

}  // namespace coss
