// The gradient of every operation against central differences, in double on the reference backend.
#include <gtest/gtest.h>

#include <cmath>

#include "autograd/ops.h"
#include "tests/support/gradient_check.h"
#include "tests/support/support.h"

namespace coss::test {

namespace {

constexpr double kBound = 1e-9;

Tensor normal(Shape shape, uint64_t seed, double stddev = 1) {
  return random_tensor(shape, DType::f64, Device::reference, seed, stddev);
}

Tensor from_values(const std::vector<double>& values, Shape shape) {
  return make_tensor(values, shape, DType::f64, Device::reference);
}

// Values that keep 0.05 away from the kinks of the activations, at -3, 0, 3 and 6.
Tensor away_from_kinks(Shape shape, uint64_t seed) {
  std::vector<double> values = normal(shape, seed, 4).to_doubles();
  for (double& value : values) {
    for (double kink : {-3.0, 0.0, 3.0, 6.0}) {
      if (std::abs(value - kink) < 0.05) value = kink + 0.1;
    }
  }
  return from_values(values, shape);
}

// All values differ by at least 0.01, so that no small step changes which one is the greatest.
Tensor distinct(Shape shape) {
  std::vector<double> values;
  for (int64_t i = 0; i < shape.numel(); ++i) values.push_back(0.01 * double(i * 7919 % shape.numel()) - 0.3);
  return from_values(values, shape);
}

Tensor filled(double value, Shape shape) {
  return from_values(std::vector<double>(size_t(shape.numel()), value), shape);
}

}  // namespace

TEST(Gradients, Add) {
  EXPECT_LT(gradient_error([](const auto& v) { return add(v[0], v[1]); }, {normal({3, 4}, 1), normal({3, 4}, 2)}),
            kBound);
}

TEST(Gradients, Activations) {
  for (Activation kind :
       {Activation::none, Activation::relu, Activation::relu6, Activation::silu, Activation::hardswish,
        Activation::sigmoid, Activation::hardsigmoid, Activation::gelu, Activation::quick_gelu}) {
    // Because of the scaling, an operation is recorded for Activation::none too.
    EXPECT_LT(gradient_error([&](const auto& v) { return scale(activation(kind, v[0]), 1.5f); },
                             {away_from_kinks({5, 7}, 1)}),
              kBound);
  }
}

TEST(Gradients, Scale) {
  EXPECT_LT(gradient_error([](const auto& v) { return scale(v[0], -2.5f); }, {normal({11}, 1)}), kBound);
}

TEST(Gradients, Dropout) {
  const Tensor step = Tensor::from(std::vector<int64_t>{3}, {1}, Device::reference);
  const DropoutParams p{.rate = 0.4f, .seed = 5, .layer = 1};
  EXPECT_LT(gradient_error([&](const auto& v) { return dropout(p, step, v[0]); }, {normal({6, 7}, 1)}), kBound);
}

TEST(Gradients, DropPath) {
  const Tensor step = Tensor::from(std::vector<int64_t>{3}, {1}, Device::reference);
  const DropoutParams p{.rate = 0.4f, .seed = 5, .layer = 1};
  const Tensor x = filled(1, {9, 2, 3, 1});
  const std::vector<double> kept = drop_path(p, step, Var(x)).value.to_doubles();
  int images = 0;
  for (size_t i = 0; i < kept.size(); ++i) {
    EXPECT_EQ(kept[i], kept[i / 6 * 6]);
    if (i % 6 == 0) images += kept[i] != 0;
  }
  EXPECT_GT(images, 0);
  EXPECT_LT(images, 9);
  EXPECT_LT(gradient_error([&](const auto& v) { return drop_path(p, step, v[0]); }, {normal({9, 2, 3, 1}, 1)}), kBound);
}

TEST(Gradients, Linear) {
  EXPECT_LT(gradient_error([](const auto& v) { return linear(v[0], v[1], v[2]); },
                           {normal({5, 7}, 1), normal({3, 7}, 2), normal({3}, 3)}),
            kBound);
  EXPECT_LT(
      gradient_error([](const auto& v) { return linear(v[0], v[1], Var()); }, {normal({5, 7}, 1), normal({3, 7}, 2)}),
      kBound);
}

TEST(Gradients, Conv2d) {
  struct Case {
    Shape x, w;
    ConvParams p;
  };
  const Case cases[] = {
      {{2, 3, 4, 3}, {4, 1, 1, 3}, {}},
      {{1, 5, 6, 2}, {3, 3, 3, 2}, {.stride = 2, .pad = 1}},
      {{1, 6, 5, 2}, {2, 3, 3, 2}, {.pad = 2, .dilation = 2}},
      {{2, 4, 4, 6}, {4, 3, 3, 3}, {.pad = 1, .groups = 2}},
      {{1, 5, 5, 4}, {3, 3, 4}, {.stride = 2, .pad = 1, .depthwise = true}},
      {{1, 6, 6, 3}, {5, 5, 3}, {.pad = 2, .depthwise = true}},
      {{1, 6, 5, 2}, {3, 3, 3, 2}, {.stride = 2, .same = true}},
      {{1, 7, 6, 3}, {5, 5, 3}, {.stride = 2, .depthwise = true, .same = true}},
  };
  for (const Case& test : cases) {
    EXPECT_LT(gradient_error([&](const auto& v) { return conv2d(test.p, v[0], v[1]); },
                             {normal(test.x, 1), normal(test.w, 2)}),
              kBound)
        << test.w.str();
  }
  EXPECT_LT(gradient_error([](const auto& v) { return conv2d({.stride = 2, .pad = 1}, v[0], v[1], v[2]); },
                           {normal({2, 5, 6, 2}, 1), normal({3, 3, 3, 2}, 2), normal({3}, 3)}),
            kBound);
}

TEST(Gradients, NormAct) {
  for (Activation kind : {Activation::none, Activation::relu, Activation::relu6}) {
    for (bool with_residual : {false, true}) {
      NormParams p;
      p.activation = kind;
      Tensor running_mean = filled(0, {3}), running_var = filled(1, {3});
      auto f = [&](const std::vector<Var>& v) {
        return norm_act(p, v[0], v[1], v[2], with_residual ? v[3] : Var(), running_mean, running_var);
      };
      std::vector<Tensor> inputs = {normal({2, 3, 3, 3}, 1), normal({3}, 2), normal({3}, 3, 2)};
      if (with_residual) inputs.push_back(normal({2, 3, 3, 3}, 4, 3));
      // The step is smaller, so that no output of these inputs is that close to a kink.
      EXPECT_LT(gradient_error(f, inputs, 1e-6), kBound) << "activation " << int(kind) << " residual " << with_residual;
    }
  }
}

TEST(Gradients, NormWithASmoothActivation) {
  for (Activation kind : {Activation::silu, Activation::hardswish}) {
    NormParams p;
    p.activation = kind;
    Tensor running_mean = filled(0, {3}), running_var = filled(1, {3});
    auto f = [&](const std::vector<Var>& v) { return norm_act(p, v[0], v[1], v[2], Var(), running_mean, running_var); };
    const std::vector<Tensor> inputs = {normal({2, 3, 3, 3}, 1), normal({3}, 2), normal({3}, 3, 2)};
    EXPECT_LT(gradient_error(f, inputs, 1e-6), kBound) << "activation " << int(kind);
    const Var residual(inputs[0]);
    EXPECT_THROW(norm_act(p, Var(inputs[0]), Var(inputs[1]), Var(inputs[2]), residual, running_mean, running_var),
                 Error);
  }
}

TEST(Gradients, NormActUpdatesTheRunningStatistics) {
  const Tensor x = normal({50, 2}, 1, 3);
  Tensor running_mean = filled(1, {2}), running_var = filled(2, {2});
  norm_act({}, Var(x), Var(filled(1, {2})), Var(filled(0, {2})), Var(), running_mean, running_var);
  const std::vector<double> values = x.to_doubles();
  for (size_t c = 0; c < 2; ++c) {
    double mean = 0, variance = 0;
    for (size_t r = 0; r < 50; ++r) mean += values[2 * r + c] / 50;
    for (size_t r = 0; r < 50; ++r) variance += std::pow(values[2 * r + c] - mean, 2) / 49;
    EXPECT_NEAR(running_mean.to_doubles()[c], 0.9 * 1 + 0.1 * mean, 1e-7);
    EXPECT_NEAR(running_var.to_doubles()[c], 0.9 * 2 + 0.1 * variance, 1e-6);
  }
}

TEST(Gradients, MaxPool) {
  for (const PoolParams& p : {PoolParams{}, PoolParams{2, 2, 0}, PoolParams{3, 1, 1}}) {
    EXPECT_LT(gradient_error([&](const auto& v) { return max_pool(p, v[0]); }, {distinct({2, 5, 6, 3})}), kBound);
  }
}

TEST(Gradients, AvgPool) {
  for (const PoolParams& p : {PoolParams{2, 2, 0}, PoolParams{3, 2, 1}, PoolParams{3, 1, 1}, PoolParams{1, 2, 0}}) {
    EXPECT_LT(gradient_error([&](const auto& v) { return avg_pool(p, v[0]); }, {normal({2, 5, 6, 3}, 1)}), kBound);
  }
  EXPECT_THROW(avg_pool({2, 2, 0}, Var(normal({1, 1, 4, 3}, 1))), Error);
}

TEST(Gradients, MeanOfPositions) {
  EXPECT_LT(gradient_error([](const auto& v) { return mean_hw(v[0]); }, {normal({2, 3, 4, 5}, 1)}), kBound);
}

TEST(Gradients, ShortcutA) {
  EXPECT_LT(gradient_error([](const auto& v) { return shortcut_a(2, 8, v[0]); }, {normal({2, 5, 4, 4}, 1)}), kBound);
}

TEST(Gradients, ScaleChannels) {
  EXPECT_LT(gradient_error([](const auto& v) { return scale_channels(v[0], v[1]); },
                           {normal({2, 3, 4, 5}, 1), normal({2, 5}, 2)}),
            kBound);
  // Squeeze and excitation: the input reaches the factors as well.
  auto weighted = [](const auto& v) {
    return scale_channels(v[0], activation(Activation::sigmoid, linear(mean_hw(v[0]), v[1], v[2])));
  };
  EXPECT_LT(gradient_error(weighted, {normal({2, 3, 2, 4}, 1), normal({4, 4}, 2), normal({4}, 3)}), kBound);
  EXPECT_THROW(scale_channels(Var(normal({2, 3, 4, 5}, 1)), Var(normal({2, 4}, 2))), Error);
}

TEST(Gradients, SlicedJoinedAndShuffledChannels) {
  EXPECT_LT(gradient_error([](const auto& v) { return slice_channels(v[0], 2, 3); }, {normal({2, 3, 7}, 1)}), kBound);
  auto joined = [](const auto& v) { return concat_channels({v[0], v[1], v[0]}); };
  EXPECT_LT(gradient_error(joined, {normal({2, 3, 2, 2}, 1), normal({2, 3, 2, 5}, 2)}), kBound);
  for (const int64_t groups : {1, 2, 3, 6, 12})
    EXPECT_LT(gradient_error([&](const auto& v) { return shuffle_channels(v[0], groups); }, {normal({2, 3, 12}, 1)}),
              kBound);
  // ShuffleNetV2's unit: one half of the channels is passed on unchanged.
  auto unit = [](const auto& v) {
    return shuffle_channels(
        concat_channels({slice_channels(v[0], 0, 3), linear(slice_channels(v[0], 3, 3), v[1], Var())}), 2);
  };
  EXPECT_LT(gradient_error(unit, {normal({5, 6}, 1), normal({3, 3}, 2)}), kBound);
  const Var x(normal({4, 6}, 1));
  EXPECT_THROW(slice_channels(x, 4, 3), Error);
  EXPECT_THROW(shuffle_channels(x, 4), Error);
  EXPECT_THROW(concat_channels({}), Error);
  EXPECT_THROW(concat_channels({x, Var(normal({5, 6}, 1))}), Error);
}

TEST(Gradients, CrossEntropy) {
  const Tensor labels = Tensor::from(std::vector<int32_t>{2, 0, -1, 4}, {4}, Device::reference);
  EXPECT_LT(gradient_error([&](const auto& v) { return cross_entropy(v[0], labels); }, {normal({4, 5}, 1, 2)}), kBound);
}

// The kernel of the CoSS loss, wrapped as an operation: value and gradient belong together.
TEST(Gradients, CossLossKernel) {
  const Tensor teacher = normal({6, 5}, 2);
  for (CossParams p : {CossParams{}, CossParams{142.857f, 1, 0}, CossParams{3, 0, 2}}) {
    auto f = [&](const std::vector<Var>& v) {
      Tensor terms({3}, DType::f64, Device::reference), dstudent(v[0].shape(), DType::f64, Device::reference);
      kernels(Device::reference).coss_loss(context(Device::reference), p, v[0].value, teacher, terms, dstudent);
      const Var loss = make_output(terms.view(0, {1}), {&v[0]});
      if (loss.grad) Tape::active()->record(loss, scaled_gradient(v[0], dstudent));
      return loss;
    };
    EXPECT_LT(gradient_error(f, {normal({6, 5}, 1)}), kBound);
  }
}

// --- the bookkeeping of shared values ----------------------------------------------------------------------------

TEST(Gradients, FanOut) {
  EXPECT_LT(
      gradient_error([](const auto& v) { return add(add(v[0], v[1]), v[0]); }, {normal({3, 4}, 1), normal({3, 4}, 2)}),
      kBound);
  EXPECT_LT(gradient_error([](const auto& v) { return add(v[0], v[0]); }, {normal({4}, 1)}), kBound);
  // The same gradient buffer goes to both summands, and one of them is used again.
  auto diamond = [](const std::vector<Var>& v) {
    const Var a = scale(v[0], 2), b = scale(v[0], 3), sum = add(a, b);
    return add(add(sum, relu(a)), add(sum, b));
  };
  EXPECT_LT(gradient_error(diamond, {away_from_kinks({5}, 1)}), kBound);
}

TEST(Gradients, InPlaceStepsLeaveSharedBuffersAlone) {
  // add gives one buffer to relu's and to norm_act's backward, both of which write in place when they own it.
  Tensor running_mean = filled(0, {2}), running_var = filled(1, {2});
  auto f = [&](const std::vector<Var>& v) {
    const Var normed = norm_act({}, v[0], v[1], v[2], Var(), running_mean, running_var);
    return add(add(relu(v[3]), normed), add(v[3], normed));
  };
  EXPECT_LT(gradient_error(f, {normal({6, 2}, 1), normal({2}, 2), normal({2}, 3), away_from_kinks({6, 2}, 4)}), kBound);
}

TEST(Gradients, AParameterUsedTwice) {
  auto tied = [](const std::vector<Var>& v) { return linear(linear(v[0], v[1], v[2]), v[1], v[2]); };
  EXPECT_LT(gradient_error(tied, {normal({3, 4}, 1), normal({4, 4}, 2), normal({4}, 3)}), kBound);
  const ConvParams same{.pad = 1};
  auto conv_twice = [&](const std::vector<Var>& v) { return conv2d(same, conv2d(same, v[0], v[1]), v[1]); };
  EXPECT_LT(gradient_error(conv_twice, {normal({1, 4, 4, 2}, 1), normal({2, 3, 3, 2}, 2)}), kBound);
}

TEST(Gradients, ResidualBlock) {
  Tensor mean_1 = filled(0, {4}), var_1 = filled(1, {4}), mean_2 = filled(0, {4}), var_2 = filled(1, {4});
  NormParams p;
  p.activation = Activation::relu;
  const ConvParams same{.pad = 1};
  auto block = [&](const std::vector<Var>& v) {
    const Var x = relu(v[0]);
    const Var h = norm_act(p, conv2d(same, x, v[1]), v[2], v[3], Var(), mean_1, var_1);
    return mean_hw(norm_act(p, conv2d(same, h, v[4]), v[5], v[6], x, mean_2, var_2));
  };
  EXPECT_LT(gradient_error(block,
                           {away_from_kinks({2, 3, 3, 4}, 1), normal({4, 3, 3, 4}, 2, 0.3), normal({4}, 3),
                            normal({4}, 4), normal({4, 3, 3, 4}, 5, 0.3), normal({4}, 6), normal({4}, 7)},
                           1e-6),
            kBound);
}

TEST(Gradients, TheCheckItselfFindsAWrongGradient) {
  auto wrong = [](const std::vector<Var>& v) {
    const Var y = make_output(scale(Var(v[0].value), 2).value, {&v[0]});
    if (y.grad) Tape::active()->record(y, [x = v[0]](const Tensor& dy) { accumulate(x, dy); });
    return y;
  };
  EXPECT_GT(gradient_error(wrong, {normal({5}, 1)}), 0.1);
}

}  // namespace coss::test
