// A training step asks the system for memory only until every shape has been seen, and reads its means when asked.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/training/small_run.h"

namespace coss::test {
namespace {

void expect_no_growth(DType dtype) {
  SmallRun run(dtype);
  for (int i = 0; i < 2; ++i) {
    run.step->run(run.batch);
    run.step->update(0.01);
  }
  const int64_t before = context(Device::cpu).pool().grown();
  for (int i = 0; i < 5; ++i) {
    run.step->run(run.batch);
    run.step->update(0.01);
  }
  EXPECT_EQ(context(Device::cpu).pool().grown(), before);
}

TEST(Step, MemoryStopsGrowingInFp32) { expect_no_growth(DType::f32); }
TEST(Step, MemoryStopsGrowingInBf16) { expect_no_growth(DType::bf16); }

TEST(Step, MeansAreOverTheBatchesSinceTheLastReading) {
  SmallRun run(DType::f32);
  run.step->run(run.batch);
  const double first = run.step->read().terms.at(0);
  run.step->run(run.batch);
  run.step->run(run.batch);
  EXPECT_NEAR(run.step->read().terms.at(0), first, 1e-5 * first);
  EXPECT_EQ(run.step->micro_batches_since_read(), 0);
}

TEST(Step, GivesEveryViewAndTheImagesPlaces) {
  SmallRun run(DType::f32, {}, 3, {16, 12});
  run.batch.indices = {70000, 4, 9};
  run.step->run(run.batch);
  const StepInputs& seen = run.method->seen;
  EXPECT_EQ(seen.indices.to_vector<int32_t>(), (std::vector<int32_t>{70000, 4, 9}));
  EXPECT_EQ(seen.labels.to_vector<int32_t>(), run.batch.labels);
  ASSERT_EQ(seen.views.size(), 2u);
  for (size_t v = 0; v < 2; ++v) {
    const int64_t size = v ? 12 : 16;
    EXPECT_EQ(seen.views[v].shape(), (Shape{3, size, size, 3}));
    Tensor alone({3, size, size, 3}, DType::f32, Device::cpu);
    const View& view = run.batch.views[v];
    const auto* raw = reinterpret_cast<const uint8_t*>(view.params.data());
    const std::vector<uint8_t> params(raw, raw + 3 * sizeof(ImageParams));
    kernels(Device::cpu)
        .augment_images(context(Device::cpu), {}, Tensor::from(params, {int64_t(params.size())}, Device::cpu),
                        Tensor::from(view.pixels, {int64_t(view.pixels.size())}, Device::cpu), alone);
    EXPECT_EQ(seen.views[v].to_doubles(), alone.to_doubles());
  }
  Tensor images({2, 16, 16, 3}, DType::f32, Device::cpu);
  kernels(Device::cpu).fill(context(Device::cpu), 0.5, images);
  run.step->run_on(images);
  ASSERT_EQ(run.method->seen.views.size(), 2u);
  EXPECT_EQ(run.method->seen.views[1].raw(), images.raw());
  EXPECT_EQ(run.method->seen.indices.to_vector<int32_t>(), (std::vector<int32_t>{0, 0}));
}

TEST(Step, TwoHalvesAccumulateToTheWholeGradient) {
  SmallRun whole(DType::f32), halves(DType::f32, {.accumulate = 2});
  whole.step->run(whole.batch);
  halves.step->run(halves.batch);
  halves.step->run(halves.batch);
  whole.step->update(0.1);
  halves.step->update(0.1);
  const std::vector<double> a = whole.params.weights().value.to_doubles(),
                            b = halves.params.weights().value.to_doubles();
  double difference = 0;
  for (size_t i = 0; i < a.size(); ++i) difference = std::max(difference, std::abs(a[i] - b[i]));
  EXPECT_LT(difference, 1e-6);
}

TEST(Step, NamesTheFirstStepWhoseLossIsNotFinite) {
  SmallRun run(DType::f32);
  run.step->run(run.batch);
  run.step->update(0.01);
  EXPECT_EQ(run.step->first_bad_step(), -1);
  Tensor weights = run.params.weights().value;
  kernels(Device::cpu).fill(context(Device::cpu), std::numeric_limits<double>::quiet_NaN(), weights);
  run.params.refresh_compute();
  run.step->run(run.batch);
  EXPECT_EQ(run.step->first_bad_step(), 1);
}

}  // namespace
}  // namespace coss::test
