// A step that is recorded and replayed: the same numbers as launched kernel by kernel, no memory asked for, no waiting.
#include <gtest/gtest.h>

#include "tests/support/support.h"
#include "tests/training/small_run.h"

namespace coss::test {
namespace {

// On a GPU, or with its own kernels on the processor, where a step takes a second.
class RecordedStep : public testing::TestWithParam<DType> {
 protected:
  void SetUp() override {
    if (devices_under_test().size() == 1) GTEST_SKIP() << "there is no device that records steps";
  }
  static StepOptions options(bool record) {
    StepOptions wish;
    wish.device = Device::cuda;
    wish.record = record;
    wish.clip_norm = 1;
    wish.ema_decay = 0.9;
    return wish;
  }
#ifdef COSS_CUDA_HOST
  static constexpr int kSteps = 5, kImages = 2;
#else
  static constexpr int kSteps = 20, kImages = 64;
#endif
};

TEST_P(RecordedStep, EqualsLaunchedStepsBitForBit) {
  SmallRun launched(GetParam(), options(false), kImages), recorded(GetParam(), options(true), kImages);
  launched.steps(kSteps);
  recorded.steps(kSteps);
  EXPECT_EQ(launched.values(), recorded.values());
  // The features for the figures of health are those of the last replay.
  EXPECT_EQ(launched.step->student_features().to_doubles(), recorded.step->student_features().to_doubles());
}

TEST_P(RecordedStep, AsksForNoMemoryAndDoesNotWait) {
  SmallRun run(GetParam(), options(true), kImages);
  run.steps(3);
  Context& ctx = context(Device::cuda);
  const int64_t own = run.step->own_pool()->grown(), common = ctx.pool().grown(), waits = ctx.waits();
  run.steps(2);
  EXPECT_EQ(run.step->own_pool()->grown(), own);
  EXPECT_EQ(ctx.pool().grown(), common);
  EXPECT_EQ(ctx.waits(), waits);
}

TEST_P(RecordedStep, ABatchOfAnotherSizeIsRecordedAnew) {
  SmallRun run(GetParam(), options(true), kImages), launched(GetParam(), options(false), kImages);
  for (SmallRun* one : {&run, &launched}) {
    one->steps(3);
    for (int copy = 0; copy < 2; ++copy) {  // the same image once more
      one->batch.indices.push_back(0);
      one->batch.labels.push_back(0);
      one->batch.valid.push_back(1);
      View& view = one->batch.views[0];
      view.params.push_back(view.params[0]);
    }
    one->steps(2);
  }
  EXPECT_EQ(launched.values(), run.values());
}

TEST_P(RecordedStep, EvaluationSeesTheWeightsOfAReplay) {
  SmallRun run(GetParam(), options(true), kImages);
  const NoGrad no_grad;
  auto features = [&] {
    const Tensor images = convert(random_tensor({2, 32, 32, 3}, DType::f32, Device::cpu, 1), GetParam(), Device::cuda);
    return run.student->features(Var(images), Mode::eval).value.to_doubles();
  };
  run.steps(4);
  const auto before = features();
  run.steps(1, 0.5);
  EXPECT_NE(features(), before);
}

INSTANTIATE_TEST_SUITE_P(Dtypes, RecordedStep, testing::Values(DType::f32, DType::bf16, DType::f16),
                         [](const auto& test) { return name_of(test.param); });

TEST(RecordedViews, AreUploadedForEveryReplay) {
  if (devices_under_test().size() == 1) GTEST_SKIP() << "there is no device that records steps";
  StepOptions wish;
  wish.device = Device::cuda;
  wish.record = false;
  SmallRun launched(DType::f32, wish, 2, {16, 12});
  wish.record = true;
  SmallRun recorded(DType::f32, wish, 2, {16, 12});
  constexpr int kSteps = 4;  // two as they stand, one recorded, one replayed
  for (int step = 0; step < kSteps; ++step)
    for (SmallRun* run : {&launched, &recorded}) {
      for (View& view : run->batch.views) std::swap(view.params.front().offset, view.params.back().offset);
      run->batch.views[1].params[0].solarize ^= 1;
      run->batch.indices[0] += 5;
      run->steps(1);
    }
  EXPECT_EQ(launched.values(), recorded.values());
  EXPECT_EQ(recorded.method->seen.indices.to_vector<int32_t>()[0], 5 * kSteps);
}

TEST(LossScale, AnOverflowSkipsTheUpdateAndHalvesTheScale) {
  if (devices_under_test().size() == 1) GTEST_SKIP() << "f16 is trained on GPUs";
  StepOptions wish;
  wish.device = Device::cuda;
  SmallRun run(DType::f16, wish, 2);
  run.steps(1);
  const double scale = run.step->loss_scale();
  const auto weights = run.params.weights().value.to_doubles();
  Tensor gradient = run.params.weights().grad;
  run.step->run(run.batch);
  kernels(Device::cuda).fill(context(Device::cuda), std::numeric_limits<double>::infinity(), gradient);
  run.step->update(0.1);
  EXPECT_EQ(run.step->loss_scale(), scale / 2);
  EXPECT_EQ(run.params.weights().value.to_doubles(), weights);
  EXPECT_EQ(gradient.to_doubles(), std::vector<double>(size_t(gradient.numel()), 0.0));
}

}  // namespace
}  // namespace coss::test
