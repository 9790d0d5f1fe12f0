// Optimizers: which ranges are decayed, what the state is, and that it restores. The arithmetic of the kernels has its
// own tests.
#include "training/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "layers/linear.h"
#include "tests/support/support.h"
#include "training/ema.h"
#include "training/grad_norm.h"

namespace coss::test {
namespace {

Tensor scalars_of(float learning_rate, float step = 1) {
  std::vector<float> values(kScalarCount, 0);
  values[kLearningRate] = learning_rate;
  values[kGradScale] = 1;
  values[kStep] = step;
  return Tensor::from(values, {kScalarCount}, Device::cpu);
}

struct Net {
  Params params;
  Linear layer;
  explicit Net(DType dtype = DType::f32) : layer(Scope(params), "fc", LinearOptions(20, 30)) {
    params.allocate(Device::cpu, dtype, 5);
  }
  void set_gradients(double value) {
    for (FlatRange* range : {&params.weights(), &params.rest()})
      kernels(Device::cpu).fill(context(Device::cpu), value, range->grad);
  }
};

TEST(Optimizer, UnknownNamesGetASuggestion) {
  Net net;
  try {
    make_optimizer({.name = "adamv"}, net.params);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("\"adamw\""), std::string::npos) << error.what();
  }
}

TEST(Optimizer, DecayOfTheRestIsAnOption) {
  for (const std::string& name : optimizer_names()) {
    for (const bool decay_rest : {true, false}) {
      Net net;
      const std::vector<double> weights = net.params.weights().value.to_doubles();
      const std::vector<double> rest = net.params.rest().value.to_doubles();
      const auto optimizer = make_optimizer({.name = name, .weight_decay = 0.1f, .decay_rest = decay_rest}, net.params);
      optimizer->step(net.params, scalars_of(0.5f));
      EXPECT_NE(net.params.weights().value.to_doubles(), weights) << name;
      EXPECT_EQ(net.params.rest().value.to_doubles() != rest, decay_rest) << name;
    }
  }
}

TEST(Optimizer, WritesTheComputeCopyAndZeroesGradients) {
  for (const std::string& name : optimizer_names()) {
    Net net(DType::bf16);
    net.set_gradients(0.5);
    make_optimizer({.name = name}, net.params)->step(net.params, scalars_of(0.1f));
    const std::vector<double> gradient = net.params.weights().grad.to_doubles();
    EXPECT_EQ(gradient, std::vector<double>(gradient.size(), 0)) << name;
    const std::vector<double> copy = net.params.weights().compute.to_doubles();
    EXPECT_LT(normalized_error(copy, net.params.weights().value.to_doubles()), 1e-5) << name;
    const std::vector<double> written = copy;
    net.params.refresh_compute();
    EXPECT_EQ(written, net.params.weights().compute.to_doubles()) << name;
  }
}

TEST(Optimizer, RestoredStateContinuesBitForBit) {
  for (const std::string& name : optimizer_names()) {
    Net straight, resumed;
    const OptimizerOptions options{.name = name, .weight_decay = 0.01f};
    const auto first = make_optimizer(options, straight.params);
    straight.set_gradients(0.3);
    first->step(straight.params, scalars_of(0.1f));

    const auto second = make_optimizer(options, resumed.params);
    const std::vector<StateTensor> saved = first->state(), target = second->state();
    ASSERT_EQ(saved.size(), target.size());
    for (size_t i = 0; i < saved.size(); ++i) {
      EXPECT_EQ(saved[i].name, target[i].name);
      Tensor into = target[i].tensor;
      kernels(Device::cpu).upload(context(Device::cpu), saved[i].tensor.to_vector<float>().data(), into);
    }
    kernels(Device::cpu).cast(context(Device::cpu), straight.params.weights().value, resumed.params.weights().value);
    kernels(Device::cpu).cast(context(Device::cpu), straight.params.rest().value, resumed.params.rest().value);
    for (Net* net : {&straight, &resumed}) {
      net->set_gradients(-0.2);
      (net == &straight ? first : second)->step(net->params, scalars_of(0.1f, 2));
    }
    EXPECT_EQ(straight.params.weights().value.to_doubles(), resumed.params.weights().value.to_doubles()) << name;
    EXPECT_EQ(straight.params.rest().value.to_doubles(), resumed.params.rest().value.to_doubles()) << name;
  }
}

TEST(Optimizer, ClippingBoundsTheNorm) {
  Net net;
  net.set_gradients(2);
  Tensor square_sum({1}, DType::f32, Device::cpu), scalars = scalars_of(1);
  const auto count = double(net.params.weights().grad.numel() + net.params.rest().grad.numel());
  const Kernels& k = kernels(Device::cpu);
  grad_square_sum(net.params, square_sum);
  EXPECT_NEAR(square_sum.item(), 4 * count, 1e-2);
  k.clip_scale(context(Device::cpu), 5, square_sum, scalars);
  EXPECT_NEAR(scalars.to_doubles()[kGradScale], 5 / std::sqrt(4 * count), 1e-6);
  scalars = scalars_of(1);
  k.clip_scale(context(Device::cpu), 1000, square_sum, scalars);
  EXPECT_EQ(scalars.to_doubles()[kGradScale], 1);
}

TEST(Ema, AveragesAndSwaps) {
  Net net;
  const std::vector<double> start = net.params.weights().value.to_doubles();
  Ema ema(net.params, 0.75f);
  kernels(Device::cpu).fill(context(Device::cpu), 2, net.params.weights().value);
  ema.step(net.params);
  ema.swap(net.params);
  const std::vector<double> average = net.params.weights().value.to_doubles();
  for (size_t i = 0; i < start.size(); ++i) ASSERT_NEAR(average[i], 0.75 * start[i] + 0.5, 1e-6);
  ema.swap(net.params);
  EXPECT_EQ(net.params.weights().value.to_doubles(), std::vector<double>(start.size(), 2));
  EXPECT_EQ(ema.state().size(), 3u);
}

}  // namespace
}  // namespace coss::test
