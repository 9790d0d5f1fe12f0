// Learning rates: the values of each curve at known points.
#include "training/schedule.h"

#include <gtest/gtest.h>

#include "engine/check.h"

namespace coss::test {
namespace {

// The released runs of CoSS: 0.03 for five epochs, then the cosine of the epoch over 25.
TEST(Schedule, CossRelease) {
  const ScheduleOptions o{.name = "cosine", .base = 0.03, .per_epoch = true, .hold_epochs = 5};
  auto at = [&](int64_t epoch, int64_t step = 0) { return learning_rate(o, epoch * 100 + step, 100, 2500); };
  EXPECT_EQ(at(0), 0.03);
  EXPECT_EQ(at(4, 99), 0.03);
  EXPECT_NEAR(at(5), 0.02714, 5e-6);
  EXPECT_EQ(at(5), at(5, 99));
  EXPECT_NEAR(at(24), 1.18e-4, 5e-7);
}

TEST(Schedule, CosinePerStep) {
  const ScheduleOptions o{.name = "cosine", .base = 2, .final = 0.5};
  EXPECT_DOUBLE_EQ(learning_rate(o, 0, 10, 100), 2);
  EXPECT_DOUBLE_EQ(learning_rate(o, 50, 10, 100), 1.25);
  EXPECT_DOUBLE_EQ(learning_rate(o, 100, 10, 100), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate(o, 120, 10, 100), 0.5);
}

TEST(Schedule, WarmUpThenTheRest) {
  for (const std::string& name : schedule_names()) {
    const ScheduleOptions o{.name = name, .base = 1, .warmup_epochs = 2, .warmup_start = 0.5};
    EXPECT_DOUBLE_EQ(learning_rate(o, 0, 10, 100), 0.5) << name;
    EXPECT_DOUBLE_EQ(learning_rate(o, 10, 10, 100), 0.75) << name;
    EXPECT_DOUBLE_EQ(learning_rate(o, 20, 10, 100), 1) << name;
  }
  const ScheduleOptions cosine{.name = "cosine", .base = 1, .warmup_epochs = 2};
  EXPECT_DOUBLE_EQ(learning_rate(cosine, 60, 10, 100), 0.5);
}

TEST(Schedule, StepsAtMilestones) {
  const ScheduleOptions o{.name = "step", .base = 1, .milestones = {3, 6}, .factor = 0.1};
  EXPECT_DOUBLE_EQ(learning_rate(o, 29, 10, 100), 1);
  EXPECT_DOUBLE_EQ(learning_rate(o, 30, 10, 100), 0.1);
  EXPECT_NEAR(learning_rate(o, 75, 10, 100), 0.01, 1e-15);
}

TEST(Schedule, UnknownName) { EXPECT_THROW(learning_rate({.name = "cosin"}, 0, 1, 1), Error); }

}  // namespace
}  // namespace coss::test
