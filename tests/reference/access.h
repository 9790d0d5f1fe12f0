// What the reference kernels share: typed access for tensors that are always f64 here.
#pragma once
#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/kernels.h"

namespace coss::reference {

inline const double* in(const Tensor& tensor) { return tensor.data<double>(); }
inline double* out(Tensor& tensor) { return tensor.mutable_data<double>(); }

inline double activate(Activation kind, double value) {
  if (kind == Activation::none) return value;
  const double positive = std::max(value, 0.0);
  return kind == Activation::relu6 ? std::min(positive, 6.0) : positive;
}

// Whether the activation passes the gradient at this input (or, which is the same, at this output).
inline bool passes(Activation kind, double value) {
  return kind == Activation::none || (value > 0 && (kind == Activation::relu || value < 6));
}

// beta * y, where beta == 0 overwrites whatever the memory held.
inline double keep(double beta, double y) { return beta == 0 ? 0 : beta * y; }

}  // namespace coss::reference
