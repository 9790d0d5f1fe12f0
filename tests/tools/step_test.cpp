// A training step asks the system for memory only until every shape has been seen, and reads its means when asked.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/tools/small_run.h"

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
  EXPECT_EQ(run.step->batches_since_read(), 0);
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
