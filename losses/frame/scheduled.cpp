// A handful of kernels on one element each.
#include "losses/frame/scheduled.h"

#include <array>

namespace coss {

namespace {

Tensor copied(const Tensor& x) {
  Tensor y(x.shape(), x.dtype(), x.device());
  kernels(x).cast(context(x.device()), x, y);
  return y;
}

Tensor product(const Tensor& x, const Tensor& factor) {
  Tensor y = copied(x);
  kernels(y).scale(context(y.device()), factor, y);
  return y;
}

Tensor as_number(const Tensor& step, DType dtype) {
  Tensor count({1}, dtype, step.device());
  kernels(step).cast(context(step.device()), step, count);
  return count;
}

}  // namespace

Tensor straight(double factor, const Tensor& x, double offset) {
  Tensor y(x.shape(), x.dtype(), x.device());
  kernels(y).fill(context(y.device()), offset, y);
  kernels(y).axpy(context(y.device()), float(factor), x, y);
  return y;
}

// hardsigmoid is 0 up to -3 and 1 from 3 on: one update lies between.
Tensor while_below(const Tensor& step, double steps, DType dtype) {
  Tensor weight = straight(-6, as_number(step, dtype), 6 * steps - 3);
  kernels(weight).activation_forward(context(weight.device()), Activation::hardsigmoid, weight, weight);
  return weight;
}

Tensor ramp(const Tensor& step, double first, double steps, DType dtype) {
  const Tensor sixfold = straight(6 / steps, as_number(step, dtype), 6 * first);
  Tensor clipped({1}, dtype, step.device());
  kernels(clipped).activation_forward(context(clipped.device()), Activation::relu6, sixfold, clipped);
  return straight(1.0 / 6, clipped, 0);
}

// 1/2 - sin(pi u) / 2 with u = step / steps - 1/2 and the sine by its Taylor polynomial, |u| <= 1/2.
Tensor half_cosine(const Tensor& step, double steps, DType dtype) {
  constexpr double kPi = 3.14159265358979323846, kSquare = kPi * kPi;
  constexpr std::array<double, 6> kFactors{kPi / 39916800, kPi / 362880, kPi / 5040, kPi / 120, kPi / 6, kPi};
  const Tensor u = straight(1 / steps, as_number(step, dtype), -0.5), square = product(u, u);
  double sign = -1, power = kSquare * kSquare * kSquare * kSquare * kSquare;
  Tensor sum = straight(0, u, sign * kFactors[0] * power);
  for (size_t i = 1; i < kFactors.size(); ++i) {
    sign = -sign;
    power /= kSquare;
    sum = straight(1, product(sum, square), sign * kFactors[i] * power);
  }
  return straight(-0.5, product(sum, u), 0.5);
}

Var times(const Var& x, const Tensor& factor) {
  Var y = make_output(product(x.value, factor), {&x});
  if (y.grad)
    Tape::active()->record(y, [factor, x = grad_only(x)](const Tensor& dy) { accumulate(x, product(dy, factor)); });
  return y;
}

}  // namespace coss
