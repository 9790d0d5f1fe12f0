// CRD, BINGO and BYOL as methods: gradients by differences, their state, and what changes from epoch to epoch.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/losses/toys.h"
#include "tests/support/support.h"

namespace coss::test {
namespace {

constexpr int64_t kStepsPerEpoch = 5;

// Toys with three classes and a run of ten updates.
ToyOptions on(Device device, DType dtype) {
  return {.classes = 3,
          .device = device,
          .dtype = dtype,
          .images = 21,
          .steps_per_epoch = kStepsPerEpoch,
          .total_steps = 10};
}
Toys toys_of(const char* name, const std::map<std::string, double>& changed = {}) {
  return Toys(options_of(name, changed), on(Device::reference, DType::f64));
}

TEST(BankMethods, GradientsAreThoseOfTheLoss) {
  for (const char* name : {"crd", "bingo", "byol"}) {
    Toys toys = toys_of(name);
    EXPECT_LT(toys.error_of_gradient(), 1e-9) << name;
  }
  Toys without_labels = toys_of("crd", {{"label_weight", 0}}), late = toys_of("bingo", {{"teacher_head", 0}});
  EXPECT_LT(without_labels.error_of_gradient(), 1e-9);
  late.set_step(100 * kStepsPerEpoch);
  EXPECT_LT(late.error_of_gradient(), 1e-9);
}

TEST(BankMethods, StateIsAllThatARunGoesOnFrom) {
  for (const char* name : {"crd", "bingo", "byol"}) {
    Toys toys = toys_of(name), other = toys_of(name);
    toys.terms();
    toys.method->after_update();
    const std::vector<StateTensor> from = toys.method->state(), to = other.method->state();
    ASSERT_EQ(from.size(), to.size());
    for (size_t i = 0; i < from.size(); ++i) {
      ASSERT_EQ(from[i].name, to[i].name);
      Tensor place = to[i].tensor;
      kernels(place).upload(context(place.device()), from[i].tensor.raw(), place);
    }
    EXPECT_EQ(toys.terms(), other.terms()) << name;
  }
}

TEST(BankMethods, BanksTakeTheEmbeddingsOfTheBatchAlone) {
  Toys toys = toys_of("crd");
  const std::vector<double> before = toys.method->state()[0].tensor.to_doubles();
  toys.terms();
  const std::vector<double> after = toys.method->state()[0].tensor.to_doubles(),
                            mine = toys.inputs.indices.to_doubles();
  for (size_t i = 0; i < after.size(); ++i)
    EXPECT_EQ(after[i] != before[i], std::count(mine.begin(), mine.end(), double(i / kToyDim)) > 0);
}

// w_1 is 0 at first: then an image's neighbor changes the total through the mixture alone.
TEST(BankMethods, BagsBeginAfterTheirEpochs) {
  Toys toys = toys_of("bingo", {{"intra_epochs", 2}});
  toys.keep();
  const auto weights = [&](int64_t updates) {
    toys.set_step(updates);
    toys.restore();
    const std::vector<double> terms = toys.terms();
    return std::pair((terms[0] - terms[3] / 3) * 1.5, terms);
  };
  const auto [early, terms] = weights(2 * kStepsPerEpoch - 1);
  EXPECT_NEAR(early, terms[1], 1e-6);
  const auto [late, same] = weights(2 * kStepsPerEpoch);
  EXPECT_NEAR(late, (same[1] + same[2]) / 2, 1e-6);
}

TEST(BankMethods, TheTargetOfByolFollowsAndThenStands) {
  Toys toys = toys_of("byol", {{"momentum", 0}});
  const auto first = [&] { return toys.method->state()[0].tensor.to_doubles(); };
  const std::vector<double> before = first();
  kernels(Device::reference).fill(context(Device::reference), 0.25, toys.student_params.weights().value);
  toys.set_step(10);  // after the last of 10 updates the momentum is 1
  toys.terms();
  toys.method->after_update();
  EXPECT_LT(normalized_error(first(), before), 1e-12);
  toys.set_step(0);
  toys.terms();
  toys.method->after_update();
  for (const double value : first()) EXPECT_NEAR(value, 0.25, 1e-6);
}

TEST(BankMethods, EveryDeviceAgreesInBothPrecisions) {
  for (const char* name : {"crd", "bingo", "byol"}) {
    Toys reference = toys_of(name);
    const std::vector<double> expected = reference.terms();
    for (const Device device : devices_for_networks()) {
      for (const DType dtype : {DType::f32, DType::bf16}) {
        Toys toys(options_of(name), on(device, dtype));
        const std::vector<double> terms = toys.terms();
        for (size_t i = 0; i < terms.size(); ++i)
          EXPECT_NEAR(terms[i], expected[i], (dtype == DType::f32 ? 1e-4 : 0.05) * (1 + std::abs(expected[i]))) << name;
      }
    }
  }
}

TEST(BankMethods, RefuseWhatTheyCannotUse) {
  EXPECT_THROW(toys_of("crd", {{"negatives", 0}}), Error);
  EXPECT_THROW(toys_of("crd", {{"label_weight", 0}, {"relaxed", 1}}), Error);
  EXPECT_THROW(toys_of("bingo", {{"temperature", 0}}), Error);
  EXPECT_THROW(toys_of("bingo", {{"dim", kToyDim + 1}}).terms(), Error);
}

}  // namespace
}  // namespace coss::test
