// What the reference kernels share: typed access for tensors that are always f64 here.
#pragma once
#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/kernels.h"

namespace coss::reference {

inline const double* in(const Tensor& tensor) { return tensor.data<double>(); }
inline double* out(Tensor& tensor) { return tensor.mutable_data<double>(); }

inline double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
inline double normal_below(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }  // Phi

inline double activate(Activation kind, double x) {
  auto relu6 = [](double value) { return std::min(std::max(value, 0.0), 6.0); };
  switch (kind) {
    case Activation::none:
      return x;
    case Activation::relu:
      return std::max(x, 0.0);
    case Activation::relu6:
      return relu6(x);
    case Activation::silu:
      return x * sigmoid(x);
    case Activation::hardswish:
      return x * relu6(x + 3) / 6;
    case Activation::sigmoid:
      return sigmoid(x);
    case Activation::hardsigmoid:
      return relu6(x + 3) / 6;
    case Activation::gelu:
      return x * normal_below(x);
    case Activation::quick_gelu:
      return x * sigmoid(1.702 * x);
  }
  return x;
}

// Whether an activation that clips passes the gradient at this input (or, which is the same, at this output). NaN
// passes it, as in PyTorch.
inline bool passes(Activation kind, double value) {
  return kind == Activation::none || (!(value <= 0) && (kind == Activation::relu || !(value >= 6)));
}

// The derivative at the input x. At a kink it is PyTorch's choice: zero for hardsigmoid at both ends, the slope of the
// line outside for hardswish.
inline double slope(Activation kind, double x) {
  auto swish = [](double scaled) { return sigmoid(scaled) * (1 + scaled * (1 - sigmoid(scaled))); };
  switch (kind) {
    case Activation::silu:
      return swish(x);
    case Activation::hardswish:
      return x <= -3 ? 0 : x >= 3 ? 1 : x / 3 + 0.5;
    case Activation::sigmoid:
      return sigmoid(x) * (1 - sigmoid(x));
    case Activation::hardsigmoid:
      return x > -3 && x < 3 ? 1 / 6.0 : 0;
    case Activation::gelu:
      return normal_below(x) + x * std::exp(-x * x / 2) / std::sqrt(2 * std::acos(-1.0));
    case Activation::quick_gelu:
      return swish(1.702 * x);
    default:
      return passes(kind, x) ? 1 : 0;
  }
}

// beta * y; with beta == 0 it is 0 whatever the memory holds.
inline double keep(double beta, double y) { return beta == 0 ? 0 : beta * y; }

}  // namespace coss::reference
