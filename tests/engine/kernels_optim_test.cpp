// Optimizers, moving average, clipping, the loss scale and meters against the reference, over several steps.
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
    if (normalized_error(second_[1], second_[1]) == 0) expect_close(second_);
    if (compute() != accumulator()) {
      expect_close(copy_);
      EXPECT_EQ(copy_[0].to_doubles(), convert(weight_[0], compute(), Device::reference).to_doubles());
    }
  }

  Twin scalars_of(double step, double skip) const {
    std::vector<double> values(kScalarCount, 0.0);
    values[kLearningRate] = 0.05;
    values[kGradScale] = 0.25;
    values[kStep] = step;
    values[kSkip] = skip;
    return twin(values, {kScalarCount}, accumulator());
  }
  static Twin view(Twin whole, int64_t offset, int64_t count) {
    return {{whole[0].view(offset, {count}), whole[1].view(offset, {count})}};
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

// Tensors of several chunks and empty ones, and ranges that begin anywhere.
TEST_P(Optimizers, LarsOfManySizes) {
  const std::vector<double> ends = {0, 5, 5, 4101, 4103, 17002, 26000};
  const int64_t count = 26000;
  Twin offsets = twin(ends, {int64_t(ends.size())}, DType::i64);
  for (int64_t skew : {0, 1}) {
    Twin weight = view(normal({count + 4}, accumulator(), 1), skew, count);
    Twin momentum = view(normal({count + 4}, accumulator(), 2, 0.01), skew, count);
    Twin grad = view(normal({count + 4}, accumulator(), 3), skew, count);
    Twin copied = view(output({count + 4}, compute()), skew, count), scalars = scalars_of(1, 0);
    both([&](const Kernels& k, Context& c, int side) {
      k.lars_step(c, {.weight_decay = 1e-2f}, scalars[side], offsets[side], grad[side], momentum[side], weight[side],
                  copied[side]);
    });
    expect_close(weight);
    expect_close(momentum);
    expect_close(copied);
    expect_equal(grad);
  }
}

// Views of flat buffers need not lie at multiples of 16 bytes, and the copy may have the dtype of the weights.
TEST_P(Optimizers, UpdatesOfViewsThatBeginAnywhere) {
  const int64_t count = 5001;
  for (bool adam : {false, true}) {
    Twin weight = view(normal({count + 4}, accumulator(), 1), 1, count);
    Twin first = view(constant(0.1, {count + 4}, accumulator()), 2, count);
    Twin second = view(constant(0.2, {count + 4}, accumulator()), 3, count);
    Twin grad = view(normal({count + 4}, accumulator(), 3), 1, count);
    Twin copied = view(output({count + 4}, compute()), 3, count), scalars = scalars_of(3, 0);
    both([&](const Kernels& k, Context& c, int side) {
      if (adam)
        k.adamw_step(c, {}, scalars[side], grad[side], first[side], second[side], weight[side], copied[side]);
      else
        k.sgd_step(c, {}, scalars[side], grad[side], first[side], weight[side], copied[side]);
      k.ema_step(c, 0.9f, weight[side], second[side]);
    });
    for (Twin* y : {&weight, &first, &second, &copied}) expect_close(*y);
    expect_equal(grad);
  }
}

TEST_P(Optimizers, AMasterThatIsItsOwnCopy) {
  Twin grad = normal({kCount}, accumulator(), 3), scalars = scalars_of(1, 0);
  both([&](const Kernels& k, Context& c, int side) {
    Tensor same = weight_[side];
    k.sgd_step(c, {}, scalars[side], grad[side], first_[side], weight_[side], same);
  });
  expect_close(weight_);
}

TEST_P(Optimizers, ASkippedUpdateOnlyZeroesTheGradient) {
  Twin offsets = twin({0, 500, 1003}, {3}, DType::i64), scalars = scalars_of(2, 1);
  copy_ = constant(7, {kCount}, compute());
  const std::vector<double> weights = weight_[0].to_doubles(), zeros(size_t(kCount), 0.0);
  for (int which : {0, 1, 2}) {
    std::vector<double> values(size_t(kCount), 1.0);
    values[3] = std::numeric_limits<double>::infinity();
    values[700] = std::numeric_limits<double>::quiet_NaN();
    Twin grad = twin(values, {kCount}, accumulator());
    both([&](const Kernels& k, Context& c, int side) {
      Tensor &g = grad[side], &m = first_[side], &v = second_[side], &w = weight_[side];
      if (which == 0) k.sgd_step(c, {}, scalars[side], g, m, w, copy_[side]);
      if (which == 1) k.adamw_step(c, {}, scalars[side], g, m, v, w, copy_[side]);
      if (which == 2) k.lars_step(c, {}, scalars[side], offsets[side], g, m, w, copy_[side]);
    });
    for (int side : {0, 1}) {
      EXPECT_EQ(grad[side].to_doubles(), zeros);
      EXPECT_EQ(first_[side].to_doubles(), zeros);
      EXPECT_EQ(second_[side].to_doubles(), zeros);
      EXPECT_EQ(copy_[side].to_doubles(), std::vector<double>(size_t(kCount), 7.0));
    }
    EXPECT_EQ(weight_[0].to_doubles(), weights);
    expect_equal(weight_);
  }
}

TEST_P(Optimizers, LossScaleGrowsWhenDueAndShrinksAtOverflow) {
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  const LossScaleParams p{.growth = 4, .backoff = 0.5f, .interval = 3};
  Twin scaler = twin({1024, 0}, {2}, accumulator());
  // The sum of squares, and then: gradient scale of this step, skip, scale, updates.
  const std::vector<std::vector<double>> steps = {{1, 1.0 / 1024, 0, 1024, 1},  {0, 1.0 / 1024, 0, 1024, 2},
                                                  {inf, 1.0 / 1024, 1, 512, 0}, {nan, 1.0 / 512, 1, 256, 0},
                                                  {1, 1.0 / 256, 0, 256, 1},    {1, 1.0 / 256, 0, 256, 2},
                                                  {1, 1.0 / 256, 0, 1024, 0},   {1, 1.0 / 1024, 0, 1024, 1}};
  auto update = [&](double square_sum) {
    Twin scalars = scalars_of(1, 0.5), sum = constant(square_sum, {1}, accumulator());
    both([&](const Kernels& k, Context& c, int side) {
      k.update_loss_scale(c, p, sum[side], scaler[side], scalars[side]);
    });
    expect_close(scalars);
    expect_equal(scaler);
    return scalars[0].to_doubles();
  };
  for (const std::vector<double>& step : steps) {
    const std::vector<double> scalars = update(step[0]);
    EXPECT_EQ(scalars[kGradScale], 0.25 * step[1]);
    EXPECT_EQ(scalars[kSkip], step[2]);
    EXPECT_EQ(scaler[0].to_doubles(), (std::vector<double>{step[3], step[4]}));
  }
  scaler = twin({1.5, 2}, {2}, accumulator());
  update(inf);
  EXPECT_EQ(scaler[0].to_doubles(), (std::vector<double>{1, 0}));
  scaler = twin({0x1p126, 2}, {2}, accumulator());
  update(1);
  EXPECT_EQ(scaler[0].to_doubles(), (std::vector<double>{0x1p126, 0}));
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

TEST_P(Optimizers, MeterTakesManyTerms) {
  Twin sums = constant(-1, {71}, DType::f64), step = constant(9, {1}, DType::i64);
  for (double bad : {1.0, std::numeric_limits<double>::infinity()}) {
    std::vector<double> values(70, 0.25);
    values[66] = bad;
    Twin terms = twin(values, {70}, accumulator());
    both([&](const Kernels& k, Context& c, int side) { k.meter_add(c, step[side], terms[side], sums[side]); });
    expect_equal(sums);
  }
  EXPECT_EQ(sums[0].to_doubles()[70], 9);
}

}  // namespace coss::test
