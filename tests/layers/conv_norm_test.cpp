// ConvNorm: eval mode computes the formula, and follows every change of weights, scale, shift and statistics.
#include "layers/conv_norm.h"

#include <gtest/gtest.h>

#include <cmath>

#include "autograd/ops.h"
#include "tests/support/support.h"
#include "training/optimizer.h"

namespace coss::test {
namespace {

struct Case {
  const char* name;
  Device device;
  DType dtype;
  double tolerance;  // bf16: the folded weight is rounded once more
};

class ConvNormTest : public testing::TestWithParam<Case> {
 protected:
  ConvNormOptions options(bool depthwise) {
    ConvNormOptions o = same_conv(8, depthwise ? 8 : 16, 3, 1, Activation::relu);
    o.conv.depthwise = depthwise;
    return o;
  }

  // act((conv(x, w) - mean) * gamma / sqrt(var + eps) + beta + residual) in double.
  static std::vector<double> expected(Params& params, const ConvNormOptions& o, const Tensor& x,
                                      const Tensor& residual) {
    const Tensor x64 = convert(x, DType::f64, Device::reference);
    std::vector<std::vector<double>> values;
    for (const Params::Entry& entry : params.entries()) values.push_back(params.master(entry).to_doubles());
    const Tensor w64 = convert(params.master(params.entries()[0]), DType::f64, Device::reference);
    std::vector<double> y = conv2d(o.conv, Var(x64), Var(w64)).value.to_doubles();
    const std::vector<double> add = residual.empty() ? std::vector<double>(y.size(), 0.0) : residual.to_doubles();
    const size_t channels = size_t(o.out);
    for (size_t i = 0; i < y.size(); ++i) {
      const size_t c = i % channels;
      const double scale = values[1][c] / std::sqrt(values[4][c] + double(o.norm.eps));
      y[i] = (y[i] - values[3][c]) * scale + values[2][c] + add[i];
    }
    const Tensor sum = make_tensor(y, {int64_t(y.size())}, DType::f64, Device::reference);
    return activation(o.norm.activation, Var(sum)).value.to_doubles();
  }
};

TEST_P(ConvNormTest, EvalIsTheFormulaWithRunningStatistics) {
  const Case& c = GetParam();
  for (const bool depthwise : {false, true}) {
    Params params;
    const ConvNormOptions o = options(depthwise);
    ConvNorm layer(Scope(params), "conv", "bn", o);
    params.allocate(c.device, c.dtype, 3);
    const Tensor x = random_tensor({4, 6, 6, 8}, c.dtype, c.device, 1);
    const Tensor residual = random_tensor({4, 6, 6, o.out}, c.dtype, c.device, 2);
    auto evaluate = [&] { return layer(Var(x), Mode::eval, Var(residual)).value; };
    auto error = [&] { return normalized_error(evaluate().to_doubles(), expected(params, o, x, residual)); };
    EXPECT_LT(error(), c.tolerance);
    // Training changes the statistics …
    const std::vector<double> before = evaluate().to_doubles();
    for (int i = 0; i < 5; ++i) layer(Var(x), Mode::train, Var(residual));
    EXPECT_NE(before, evaluate().to_doubles());
    EXPECT_LT(error(), c.tolerance);
    // … and may change weights, scale and shift: the folded copies follow.
    kernels(c.device).fill(context(c.device), 0.7, params.rest().value);
    EXPECT_LT(error(), c.tolerance);
    const Tensor drawn = random_tensor(params.weights().value.shape(), params.weights().value.dtype(), c.device, 9);
    kernels(c.device).cast(context(c.device), drawn, params.weights().value);
    params.refresh_compute();
    EXPECT_LT(error(), c.tolerance);
  }
}

TEST_P(ConvNormTest, SmoothActivationsAndSamePadding) {
  const Case& c = GetParam();
  for (const Activation kind : {Activation::silu, Activation::hardswish}) {
    for (const bool depthwise : {false, true}) {
      Params params;
      ConvNormOptions o = options(depthwise);
      o.conv = {.stride = 2, .depthwise = depthwise, .same = true};
      o.norm.activation = kind;
      ConvNorm layer(Scope(params), "conv", "bn", o);
      params.allocate(c.device, c.dtype, 3);
      Var x(random_tensor({4, 6, 7, 8}, c.dtype, c.device, 1), std::make_shared<Grad>());
      const Tensor labels = Tensor::from(std::vector<int32_t>{0, 1, 2, 3}, {4}, c.device);
      Tape tape;
      const Var y = layer(x, Mode::train);
      EXPECT_EQ(y.shape(), (Shape{4, 3, 4, o.out}));
      tape.backward(cross_entropy(mean_hw(y), labels));
      EXPECT_EQ(x.grad->value.shape(), x.shape());
      const Tensor folded = layer(x, Mode::eval).value;
      EXPECT_LT(normalized_error(folded.to_doubles(), expected(params, o, x.value, Tensor())), c.tolerance);
    }
  }
}

TEST_P(ConvNormTest, RefoldsAfterAnOptimizerStep) {
  const Case& c = GetParam();
  Params params;
  const ConvNormOptions o = options(false);
  ConvNorm layer(Scope(params), "conv", "bn", o);
  params.allocate(c.device, c.dtype, 3);
  const Tensor x = random_tensor({4, 6, 6, 8}, c.dtype, c.device, 1);
  const Tensor residual = random_tensor({4, 6, 6, o.out}, c.dtype, c.device, 2);
  layer(Var(x), Mode::eval, Var(residual));
  const auto optimizer = make_optimizer({}, params);
  kernels(c.device).fill(context(c.device), 1, params.weights().grad);
  std::vector<float> scalars(kScalarCount, 0);
  scalars[kLearningRate] = 0.1f;
  scalars[kGradScale] = scalars[kStep] = 1;
  const Tensor host = Tensor::from(scalars, {kScalarCount}, Device::cpu);
  optimizer->step(params, convert(host, accumulator_of(c.dtype), c.device));
  const Tensor y = layer(Var(x), Mode::eval, Var(residual)).value;
  EXPECT_LT(normalized_error(y.to_doubles(), expected(params, o, x, residual)), c.tolerance);
}

TEST_P(ConvNormTest, TrainingReachesEveryParameterAndTheInput) {
  const Case& c = GetParam();
  Params params;
  ConvNorm layer(Scope(params), "conv", "bn", options(false));
  params.allocate(c.device, c.dtype, 3);
  Var x(random_tensor({4, 6, 6, 8}, c.dtype, c.device, 1), std::make_shared<Grad>());
  Var residual(random_tensor({4, 6, 6, 16}, c.dtype, c.device, 2), std::make_shared<Grad>());
  const Tensor labels = Tensor::from(std::vector<int32_t>{0, 1, 2, 3}, {4}, c.device);
  Tape tape;
  tape.backward(cross_entropy(mean_hw(layer(x, Mode::train, residual)), labels));
  for (const Tensor& gradient : {params.weights().grad, params.rest().grad, x.grad->value, residual.grad->value}) {
    double square = 0;
    for (const double value : gradient.to_doubles()) square += value * value;
    EXPECT_GT(square, 0);
  }
  EXPECT_EQ(x.grad->value.dtype(), c.dtype);
}

INSTANTIATE_TEST_SUITE_P(Backends, ConvNormTest,
                         testing::Values(Case{"reference_f64", Device::reference, DType::f64, 1e-12},
                                         Case{"cpu_f32", Device::cpu, DType::f32, 1e-10},
                                         Case{"cpu_bf16", Device::cpu, DType::bf16, 2e-4}),
                         [](const auto& each) { return each.param.name; });

// In training a bias changes only the running mean, which becomes that of the biased convolution; in eval mode bias and
// mean cancel.
TEST_P(ConvNormTest, BiasMovesTheRunningMeanOnly) {
  const Case& c = GetParam();
  const Tensor x = random_tensor({4, 6, 6, 8}, c.dtype, c.device, 1);
  std::vector<std::vector<double>> outputs;
  for (const bool bias : {false, true}) {
    Params params;
    ConvNormOptions o = options(false);
    o.bias = bias;
    ConvNorm layer(Scope(params), "0", "1", o);
    params.allocate(c.device, c.dtype, 3);
    const Tensor labels = Tensor::from(std::vector<int32_t>{0, 1, 2, 3}, {4}, c.device);
    auto entry = [&](const std::string& name) {
      for (const Params::Entry& each : params.entries())
        if (each.name == name) return params.master(each);
      throw Error("no parameter " + name);
    };
    if (bias) {
      Tensor values = entry("0.bias"), mean = entry("1.running_mean");
      for (Tensor* both : {&values, &mean}) kernels(c.device).fill(context(c.device), 0.5, *both);
    }
    Tape tape;
    const Var y = layer(Var(x), Mode::train);
    tape.backward(cross_entropy(mean_hw(y), labels));
    outputs.push_back(y.value.to_doubles());
    outputs.push_back(layer(Var(x), Mode::eval).value.to_doubles());
    std::vector<double> mean = entry("1.running_mean").to_doubles();
    for (double& value : mean) value -= bias ? 0.5 : 0;
    outputs.push_back(mean);
    if (bias) {
      for (const Params::Entry& each : params.entries()) {
        if (each.name != "0.bias") continue;
        for (const double g : each.var->grad->value.to_doubles()) EXPECT_EQ(g, 0);
      }
    }
  }
  EXPECT_EQ(outputs[0], outputs[3]);
  EXPECT_LT(normalized_error(outputs[4], outputs[1]), std::max(c.tolerance, 1e-9));
  EXPECT_LT(normalized_error(outputs[5], outputs[2]), 1e-9);
}

}  // namespace
}  // namespace coss::test
