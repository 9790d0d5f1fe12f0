// What the goldens of models keep of a network's outputs, computed from ours.
#pragma once
#include <cmath>
#include <vector>

#include "autograd/autograd.h"
#include "tests/support/support.h"

namespace coss::test {

// At most 64 columns, evenly spread.
inline std::vector<double> thinned(const Var& rows) {
  const std::vector<double> values = rows.value.to_doubles();
  const size_t width = size_t(rows.shape()[1]), step = (width + 63) / 64;
  std::vector<double> kept;
  for (size_t row = 0; row < values.size(); row += width)
    for (size_t column = 0; column < width; column += step) kept.push_back(values[row + column]);
  return kept;
}

// Mean and root mean square of each stage.
inline std::vector<double> summary(const std::vector<Var>& stages) {
  std::vector<double> rows;
  for (const Var& stage : stages) {
    double sum = 0, squares = 0;
    for (const double value : stage.value.to_doubles()) sum += value, squares += value * value;
    const double count = double(stage.value.numel());
    rows.insert(rows.end(), {sum / count, std::sqrt(squares / count)});
  }
  return rows;
}

// sum(x * weights) as an operation.
inline Var weighted_sum(const Var& x, const Tensor& weights) {
  const std::vector<double> a = x.value.to_doubles(), b = weights.to_doubles();
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  Var loss = make_output(make_tensor({sum}, {1}, accumulator_of(x.value.dtype()), x.value.device()), {&x});
  Tape::active()->record(loss, [x, weights](const Tensor&) { accumulate(x, weights); });
  return loss;
}

}  // namespace coss::test
