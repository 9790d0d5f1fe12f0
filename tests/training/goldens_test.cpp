// Optimizers, schedules and the moving average against PyTorch's, from tests/goldens/optimizers.safetensors.
#include <gtest/gtest.h>

#include "tests/support/golden_file.h"
#include "tests/support/support.h"
#include "training/ema.h"
#include "training/optimizer.h"
#include "training/schedule.h"

namespace coss::test {

namespace {

constexpr int64_t kSteps = 5;

const GoldenFile& goldens() {
  static const GoldenFile file("optimizers.safetensors");
  return file;
}

// The two tensors of the goldens, side by side in the range of weights.
struct Weights {
  explicit Weights(Device device) {
    params.add_weight("weight", {6, 10}, FileLayout::plain, Init::zeros(), &first);
    params.add_weight("other", {9, 3}, FileLayout::plain, Init::zeros(), &second);
    params.allocate(device, DType::f32, 0);
    for (const Params::Entry& entry : params.entries()) {
      Tensor master = params.master(entry);
      copy(goldens().tensor("start/" + entry.name, DType::f32, device), master);
    }
    params.refresh_compute();
  }
  static void copy(const Tensor& from, Tensor& to) { kernels(to).cast(context(to.device()), from, to); }
  void expect(const std::string& kind) const {
    for (const Params::Entry& entry : params.entries())
      EXPECT_LT(normalized_error(params.master(entry).to_doubles(), goldens().values(kind + "/" + entry.name)), 1e-12)
          << kind << " " << entry.name;
  }
  Params params;
  Var first, second;
};

void run(Weights& weights, const OptimizerOptions& options, float rate, Ema* ema = nullptr) {
  const Device device = weights.params.device();
  const auto optimizer = make_optimizer(options, weights.params);
  std::vector<float> values(kScalarCount, 0.0f);
  values[kLearningRate] = rate;
  values[kGradScale] = 1;
  for (int64_t step = 0; step < kSteps; ++step) {
    values[kStep] = float(step + 1);
    for (const Params::Entry& entry : weights.params.entries())
      Weights::copy(goldens().tensor("grad/" + std::to_string(step) + "/" + entry.name, DType::f32, device),
                    entry.var->grad->value);
    optimizer->step(weights.params, Tensor::from(values, {kScalarCount}, device));
    if (ema) ema->step(weights.params);
  }
}

void expect_rates(const std::string& key, const ScheduleOptions& options) {
  const std::vector<double> expected = goldens().values("schedule/" + key);
  std::vector<double> rates;
  for (size_t step = 0; step < expected.size(); ++step)
    rates.push_back(learning_rate(options, int64_t(step), 1, int64_t(expected.size())));
  EXPECT_LT(normalized_error(rates, expected), 1e-13) << key;  // the goldens are float32
}

class OptimizerGoldens : public testing::TestWithParam<Device> {};

}  // namespace

TEST_P(OptimizerGoldens, FiveSteps) {
  struct Case {
    const char* name;
    OptimizerOptions options;
    float rate;
  };
  const Case cases[] = {{"sgd", {.name = "sgd", .weight_decay = 0.01f}, 0.1f},
                        {"sgd_plain", {.name = "sgd", .momentum = 0}, 0.1f},
                        {"sgd_nesterov", {.name = "sgd", .weight_decay = 0.01f, .nesterov = true}, 0.1f},
                        {"adamw", {.name = "adamw", .weight_decay = 0.01f}, 0.1f},
                        {"lars", {.name = "lars", .weight_decay = 0.01f, .trust = 0.1f}, 1.0f}};
  for (const Case& one : cases) {
    Weights weights(GetParam());
    run(weights, one.options, one.rate);
    weights.expect(one.name);
  }
}

TEST_P(OptimizerGoldens, MovingAverage) {
  Weights weights(GetParam());
  Ema ema(weights.params, 0.9f);
  run(weights, {.name = "sgd", .weight_decay = 0.01f}, 0.1f, &ema);
  ema.swap(weights.params);
  weights.expect("ema");
}

INSTANTIATE_TEST_SUITE_P(Devices, OptimizerGoldens, testing::ValuesIn(devices_under_test()),
                         [](const auto& device) { return std::string(name_of(device.param)); });

TEST(ScheduleGoldens, PerStep) {
  expect_rates("cosine", {});
  expect_rates("cosine_final", {.final = 0.003});
  expect_rates("step", {.name = "step", .milestones = {6, 12}});
  expect_rates("warmup_cosine", {.warmup_epochs = 5, .warmup_start = 0.003});
}

}  // namespace coss::test
