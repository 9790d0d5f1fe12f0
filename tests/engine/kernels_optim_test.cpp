// Optimizers, moving average, clipping and meters against the reference, over several steps.
#include "tests/engine/kernel_test.h"

namespace coss::test {

namespace {
constexpr int64_t kCount = 1003;
}  // namespace

class Optimizers : public KernelTest {
 protected:
  void SetUp() override {
    weight_ = normal({kCount}, accumulator(), 1);
    first_ = constant(0, {kCount}, accumulator());
    second_ = constant(0, {kCount}, accumulator());
    copy_ = output({kCount}, compute());
  }

  // Five updates; update(kernels, context, side, scalars, grad) makes one. Checks weights, states, copy and grad.
  template <class Update>
  void run(Update update) {
    for (int step = 1; step <= 5; ++step) {
      std::vector<double> values(kScalarCount, 0.0);
      values[kLearningRate] = 0.1 / step;
      values[kGradScale] = 0.25;
      values[kStep] = step;
      Twin scalars = twin(values, {kScalarCount}, accumulator()),
           grad = normal({kCount}, accumulator(), 10u + unsigned(step));
      both([&](const Kernels& k, Context& c, int side) { update(k, c, side, scalars[side], grad[side]); });
      EXPECT_EQ(grad[0].to_doubles(), std::vector<double>(size_t(kCount), 0.0));
    }
    expect_close(weight_);
    expect_close(first_);
    if (normalised_error(second_[1], second_[1]) == 0) expect_close(second_);
    if (compute() != accumulator()) {
      expect_close(copy_);
      EXPECT_EQ(copy_[0].to_doubles(), convert(weight_[0], compute(), Device::reference).to_doubles());
    }
  }

  Twin& copy() { return compute() == accumulator() ? none_ : copy_; }

  Twin weight_, first_, second_, copy_, none_;
};
INSTANTIATE_TEST_SUITE_P(Backends, Optimizers, testing::ValuesIn(backends()),
                         [](const auto& test) { return backend_name(test.param); });

TEST_P(Optimizers, Sgd) {
  for (bool nesterov : {false, true}) {
    const SgdParams p{.momentum = 0.9f, .weight_decay = 1e-2f, .nesterov = nesterov};
    run([&](const Kernels& k, Context& c, int side, Tensor& scalars, Tensor& grad) {
      k.sgd_step(c, p, scalars, grad, first_[side], weight_[side], copy()[side]);
    });
  }
}

TEST_P(Optimizers, Adamw) {
  const AdamwParams p{.weight_decay = 1e-2f};
  run([&](const Kernels& k, Context& c, int side, Tensor& scalars, Tensor& grad) {
    k.adamw_step(c, p, scalars, grad, first_[side], second_[side], weight_[side], copy()[side]);
  });
}

TEST_P(Optimizers, Lars) {
  for (bool adapt : {true, false}) {
    const LarsParams p{.momentum = 0.9f, .weight_decay = 1e-2f, .adapt = adapt};
    Twin offsets = twin({0, 1, 300, 1003}, {4}, DType::i64);
    run([&](const Kernels& k, Context& c, int side, Tensor& scalars, Tensor& grad) {
      k.lars_step(c, p, scalars, offsets[side], grad, first_[side], weight_[side], copy()[side]);
    });
  }
}

TEST_P(Optimizers, LarsOfZeroWeightsTakesPlainSteps) {
  weight_ = constant(0, {kCount}, accumulator());
  Twin offsets = twin({0, 500, 1003}, {3}, DType::i64);
  run([&](const Kernels& k, Context& c, int side, Tensor& scalars, Tensor& grad) {
    k.lars_step(c, {}, scalars, offsets[side], grad, first_[side], weight_[side], copy()[side]);
  });
}

TEST_P(Optimizers, MovingAverage) {
  both([&](const Kernels& k, Context& c, int side) { k.ema_step(c, 0.99f, weight_[side], first_[side]); });
  expect_close(first_);
}

TEST_P(Optimizers, ClipScaleOnlyShrinks) {
  for (double square_sum : {400.0, 1.0, 0.0}) {
    std::vector<double> values(kScalarCount, 3.0);
    values[kGradScale] = 0.5;
    Twin scalars = twin(values, {kScalarCount}, accumulator()), sum = constant(square_sum, {1}, accumulator());
    both([&](const Kernels& k, Context& c, int side) { k.clip_scale(c, 2, sum[side], scalars[side]); });
    expect_close(scalars);
    EXPECT_NEAR(scalars[0].to_doubles()[kGradScale], square_sum == 400 ? 0.1 : 0.5, 1e-6);
  }
}

TEST_P(Optimizers, MeterRemembersTheFirstStepThatWasNotFinite) {
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  Twin sums = twin({0, 0, -1}, {3}, DType::f64);
  auto add = [&](int64_t now, double a, double b) {
    Twin step = constant(double(now), {1}, DType::i64), terms = twin({a, b}, {2}, accumulator());
    both([&](const Kernels& k, Context& c, int side) { k.meter_add(c, step[side], terms[side], sums[side]); });
  };
  add(0, 1, 2);
  add(1, 0.5, 4);
  expect_equal(sums);
  EXPECT_EQ(sums[0].to_doubles(), (std::vector<double>{1.5, 6, -1}));
  add(2, 1, inf);
  add(3, nan, 1);
  EXPECT_EQ(sums[0].to_doubles()[2], 2);
  EXPECT_EQ(sums[1].to_doubles()[2], 2);
}

}  // namespace coss::test
