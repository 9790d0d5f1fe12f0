// Methods over feature maps: what the tests of the registry do not cover (sizes that differ, phases, options).
#include <gtest/gtest.h>

#include "tests/losses/toys.h"
#include "tests/support/support.h"

namespace coss::test {
namespace {

// With the windows of both networks; the losses are as large as the labels' one.
Toys trial_of(const char* name, std::map<std::string, double> changed, int64_t window = 2, int64_t teacher_window = 2) {
  changed.insert({"weight", 1});
  return Toys(options_of(name, changed),
              {.width = 4, .window = window, .teacher_window = teacher_window, .batch = 3, .size = 4});
}

double length(const Tensor& x) {
  double squares = 0;
  for (const double v : x.to_doubles()) squares += v * v;
  return squares;
}

TEST(MapMethods, StagesOfAnotherSizeAreAveraged) {
  for (const char* name : {"at", "nst", "vid"}) {
    Toys trial = trial_of(name, {}, 1, 2);  // the student's second stage is twice as large
    EXPECT_LT(trial.error_of_gradient(), 1e-9) << name;
  }
}

TEST(MapMethods, FitnetTakesTheSizesThatItCan) {
  Toys twice = trial_of("fitnet", {{"layer", 2}}, 1, 2);
  EXPECT_LT(twice.error_of_gradient(), 1e-9);
  try {
    trial_of("fitnet", {{"layer", 2}}, 2, 1);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("(1, 2, 2, 4)"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("(1, 4, 4, 7)"), std::string::npos) << error.what();
  }
  EXPECT_THROW(trial_of("fitnet", {{"layer", 3}}), Error);
  EXPECT_THROW(trial_of("fitnet", {{"layer", 2}, {"teacher_view", 1}}), Error);
}

TEST(MapMethods, FitnetOfEmbeddings) {
  for (const double embedding : {0., 5.}) {
    Toys trial = trial_of("fitnet", {{"layer", 0}, {"embedding", embedding}});
    EXPECT_LT(trial.error_of_gradient(), 1e-9);
    EXPECT_EQ(trial.method->companion() != nullptr, embedding > 0);
  }
  EXPECT_THROW(trial_of("fitnet", {{"layer", 0}, {"label_weight", 0}}), Error);
}

TEST(MapMethods, NoLabelsWhereTheirWeightIsZero) {
  for (const char* name : {"fitnet", "at", "nst", "vid"}) {
    Toys trial = trial_of(name, {{"label_weight", 0}});
    trial.inputs.labels = Tensor();
    EXPECT_EQ(trial.method->forward(trial.inputs).values.numel(), 2) << name;
  }
}

// First the paraphraser learns alone, then the student alone.
TEST(MapMethods, FtHasTwoPhases) {
  Toys trial = trial_of("ft", {{"teacher_epochs", 2}});
  Params& paraphraser = *trial.method->companion();
  EXPECT_EQ(trial.method->learner(19), Learner::companion);
  EXPECT_EQ(trial.method->learner(20), Learner::student);
  trial.method->learn(Learner::companion);
  EXPECT_LT(trial.error_of_gradient(paraphraser), 1e-9);
  EXPECT_EQ(length(trial.student_params.weights().grad), 0);
  kernels(Device::reference).fill(context(Device::reference), 0, paraphraser.weights().grad);
  trial.method->learn(Learner::student);
  EXPECT_LT(trial.error_of_gradient(), 1e-9);
  EXPECT_EQ(length(paraphraser.weights().grad), 0);
}

TEST(MapMethods, FtOfWholeFactors) {
  Toys trial = trial_of("ft", {{"whole_factor", 1}, {"label_weight", 0}}, 1, 2);
  EXPECT_LT(trial.error_of_gradient(), 1e-9);
}

}  // namespace
}  // namespace coss::test
