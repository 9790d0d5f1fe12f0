// Norm and Conv, the parts of a pre-activation block: eval mode computes the formula and follows every change of the
// parameters; training gives a gradient to every parameter and to the input.
#include "layers/norm.h"

#include <gtest/gtest.h>

#include <cmath>

#include "autograd/ops.h"
#include "layers/conv.h"
#include "tests/support/support.h"

namespace coss::test {
namespace {

struct Case {
  const char* name;
  Device device;
  DType dtype;
  double tolerance;  // bf16: scale and output are rounded
};

constexpr NormParams kRelu{.activation = Activation::relu};

class NormTest : public testing::TestWithParam<Case> {};

// relu((x - mean) * gamma / sqrt(var + eps) + beta) in double.
std::vector<double> expected(const Params& params, const Tensor& x) {
  std::vector<std::vector<double>> values;
  for (const Params::Entry& entry : params.entries()) values.push_back(params.master(entry).to_doubles());
  std::vector<double> y = x.to_doubles();
  for (size_t i = 0; i < y.size(); ++i) {
    const size_t c = i % size_t(x.shape().back());
    const double scale = values[0][c] / std::sqrt(values[3][c] + double(kRelu.eps));
    y[i] = std::max((y[i] - values[2][c]) * scale + values[1][c], 0.0);
  }
  return y;
}

TEST_P(NormTest, EvalIsTheFormulaWithRunningStatistics) {
  const Case& c = GetParam();
  Params params;
  Norm layer(Scope(params), "bn1", 24, kRelu);
  params.allocate(c.device, c.dtype, 3);
  const Tensor x = random_tensor({4, 5, 6, 24}, c.dtype, c.device, 1, 3);
  auto evaluate = [&] { return layer(Var(x), Mode::eval).value.to_doubles(); };
  EXPECT_LT(normalized_error(evaluate(), expected(params, x)), c.tolerance);
  const std::vector<double> before = evaluate();
  for (int i = 0; i < 5; ++i) layer(Var(x), Mode::train);
  EXPECT_NE(before, evaluate());
  EXPECT_LT(normalized_error(evaluate(), expected(params, x)), c.tolerance);
  kernels(c.device).fill(context(c.device), 0.7, params.rest().value);
  EXPECT_LT(normalized_error(evaluate(), expected(params, x)), c.tolerance);
}

TEST_P(NormTest, ConvolutionAddsItsResidualInBothModes) {
  const Case& c = GetParam();
  Params params;
  Conv layer(Scope(params), "conv1", {.in = 24, .out = 16, .window = 3, .conv = {.stride = 2, .pad = 1}});
  params.allocate(c.device, c.dtype, 3);
  const Var x(random_tensor({2, 6, 6, 24}, c.dtype, c.device, 1));
  const Var residual(random_tensor({2, 3, 3, 16}, c.dtype, c.device, 2));
  for (const Var& each : {Var(), residual}) {
    const Tensor trained = layer(x, Mode::train, each).value, frozen = layer(x, Mode::eval, each).value;
    EXPECT_EQ(frozen.shape(), (Shape{2, 3, 3, 16}));
    EXPECT_LT(normalized_error(frozen, trained), c.tolerance);
  }
}

TEST_P(NormTest, TrainingReachesEveryParameterAndTheInput) {
  const Case& c = GetParam();
  Params params;
  Norm norm(Scope(params), "bn1", 8, kRelu);
  Conv conv(Scope(params), "conv1", {.in = 8, .out = 8, .window = 3, .conv = {.pad = 1}});
  params.allocate(c.device, c.dtype, 3);
  Var x(random_tensor({4, 6, 6, 8}, c.dtype, c.device, 1), std::make_shared<Grad>());
  const Tensor labels = Tensor::from(std::vector<int32_t>{0, 1, 2, 3}, {4}, c.device);
  Tape tape;
  tape.backward(cross_entropy(mean_hw(conv(norm(x, Mode::train), Mode::train, x)), labels));
  for (const Tensor& gradient : {params.weights().grad, params.rest().grad, x.grad->value}) {
    double square = 0;
    for (const double value : gradient.to_doubles()) square += value * value;
    EXPECT_GT(square, 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, NormTest,
                         testing::Values(Case{"reference_f64", Device::reference, DType::f64, 1e-12},
                                         Case{"cpu_f32", Device::cpu, DType::f32, 1e-10},
                                         Case{"cpu_bf16", Device::cpu, DType::bf16, 2e-4}),
                         [](const auto& each) { return each.param.name; });

}  // namespace
}  // namespace coss::test
