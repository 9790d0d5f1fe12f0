// Gradient checks in double.
#include "tests/support/gradient_check.h"

#include <algorithm>
#include <cmath>

#include "tests/support/support.h"

namespace coss::test {

namespace {

using Function = std::function<Var(const std::vector<Var>&)>;
constexpr double kHeld = 0.5;  // what a parameter's gradient buffer holds before backward

std::vector<double> projection(const Shape& shape) {
  return random_tensor(shape, DType::f64, Device::reference, 4711).to_doubles();
}

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// <r, y> as an operation on the tape.
Var projected(const Var& y) {
  const std::vector<double> r = projection(y.shape());
  const Var loss =
      make_output(Tensor::from(std::vector<double>{dot(r, y.value.to_doubles())}, Shape{1}, Device::reference), {&y});
  Tape::active()->record(loss, [y, r](const Tensor& dy) {
    std::vector<double> gradient = r;
    for (double& value : gradient) value *= dy.item();
    accumulate(y, Tensor::from(gradient, y.shape(), Device::reference));
  });
  return loss;
}

std::vector<std::vector<double>> tape_gradients(const Function& f, const std::vector<Tensor>& inputs, bool as_params) {
  std::vector<Var> vars;
  for (const Tensor& input : inputs) {
    auto grad = std::make_shared<Grad>();
    grad->is_param = as_params;
    if (as_params) {
      grad->value = Tensor(input.shape(), DType::f64, Device::reference);
      kernels(Device::reference).fill(context(Device::reference), kHeld, grad->value);
    }
    vars.emplace_back(input, grad);
  }
  Tape tape;
  tape.backward(projected(f(vars)));
  std::vector<std::vector<double>> gradients;
  for (const Var& var : vars) {
    const size_t count = size_t(var.value.numel());
    gradients.push_back(var.grad->value.empty() ? std::vector<double>(count, 0.0) : var.grad->value.to_doubles());
    for (double& value : gradients.back()) value -= as_params ? kHeld : 0;
  }
  return gradients;
}

std::vector<double> central_differences(const Function& f, const std::vector<Tensor>& inputs, size_t which,
                                        double step) {
  const NoGrad none;
  const std::vector<double> center = inputs[which].to_doubles();
  auto value_at = [&](size_t i, double offset) {
    std::vector<double> moved = center;
    moved[i] += offset;
    std::vector<Var> vars(inputs.begin(), inputs.end());
    vars[which] = Var(Tensor::from(moved, inputs[which].shape(), Device::reference));
    const Var y = f(vars);
    return dot(projection(y.shape()), y.value.to_doubles());
  };
  std::vector<double> differences;
  for (size_t i = 0; i < center.size(); ++i) {
    differences.push_back((value_at(i, step) - value_at(i, -step)) / (2 * step));
  }
  return differences;
}

}  // namespace

double gradient_error(const Function& f, const std::vector<Tensor>& inputs, double step) {
  std::vector<std::vector<double>> expected;
  double all = 0;
  for (size_t i = 0; i < inputs.size(); ++i) {
    expected.push_back(central_differences(f, inputs, i, step));
    all += dot(expected.back(), expected.back());
  }
  if (all == 0) return INFINITY;  // a check of nothing
  double worst = 0;
  for (bool as_params : {false, true}) {
    const auto gradients = tape_gradients(f, inputs, as_params);
    for (size_t i = 0; i < inputs.size(); ++i) {
      double error = 0;
      for (size_t j = 0; j < gradients[i].size(); ++j) error += std::pow(gradients[i][j] - expected[i][j], 2);
      // An input without influence has only the noise of the differences, so it is compared with the whole gradient.
      const double relative = error / std::max(dot(expected[i], expected[i]), 1e-6 * all);
      worst = std::isnan(relative) ? INFINITY : std::max(worst, relative);
    }
  }
  return worst;
}

}  // namespace coss::test
