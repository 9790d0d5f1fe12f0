// Gradient checks in double: what the tape computes against central differences.
#pragma once
#include <functional>
#include <vector>

#include "autograd/autograd.h"

namespace coss::test {

// The greatest normalized error, over the inputs, of the gradients of <r, f(inputs)>, where r is a fixed random tensor
// in the shape of f's result. The inputs are f64 tensors of Device::reference; f must be deterministic. Each input is
// differentiated both as an activation and as a parameter, whose gradient is added to a buffer.
double gradient_error(const std::function<Var(const std::vector<Var>&)>& f, const std::vector<Tensor>& inputs,
                      double step = 1e-5);

}  // namespace coss::test
