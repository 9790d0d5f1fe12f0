// NCE, CCL, CC, SMD and SimCLR as methods: who learns from what, and when.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/losses/toys.h"
#include "tests/support/support.h"

namespace coss::test {
namespace {

TEST(PairMethods, GradientsAreThoseOfTheTotal) {
  for (const MethodOptions& options :
       {options_of("nce", {{"embedding", 0}}), options_of("ccl", {{"embedding", 0}}), options_of("cc"),
        options_of("cc", {{"label_weight", 0}}), options_of("simclr")}) {
    Toys toys(options);
    EXPECT_LT(toys.error_of_gradient(), 1e-9) << options.name;
  }
}

// The teacher's embedding learns from its own cross-entropy alone, whatever the student does.
TEST(PairMethods, TheTeachersEmbeddingLearnsByItself) {
  for (const char* name : {"nce", "ccl"}) {
    std::vector<double> first;
    for (const double weight : {0.0, 3.0}) {
      Toys toys(options_of(name, {{"embedding", 3}, {"weight", weight}}), {.teacher_classes = 0});
      ASSERT_TRUE(toys.method->companion());
      EXPECT_EQ(toys.method->learner(0), Learner::both);
      toys.backward();
      const std::vector<double> grad = toys.method->companion()->weights().grad.to_doubles();
      if (first.empty()) first = grad;
      EXPECT_EQ(grad, first) << name;
      EXPECT_GT(normalized_error(grad, std::vector<double>(grad.size(), 1e-9)), 1);
    }
    EXPECT_FALSE(Toys(options_of(name, {{"embedding", 0}})).method->companion());
  }
}

TEST(PairMethods, CclNeedsLogitsToCompare) {
  EXPECT_THROW(Toys(options_of("ccl", {{"embedding", 0}}), {.teacher_classes = 9}), Error);
}

// The cosine term ends with the warm epochs, on the device.
TEST(PairMethods, SmdWarmsUp) {
  std::vector<Device> devices = devices_under_test();
  devices.push_back(Device::reference);
  for (const Device device : devices) {
    const DType dtype = device == Device::reference ? DType::f64 : DType::f32;
    Toys toys(options_of("smd", {{"warm_epochs", 2}}), {.device = device, .dtype = dtype});
    for (const int64_t step : {0, 1, 19, 20, 21, 1000000}) {
      toys.set_step(step);
      const std::vector<double> terms = toys.terms();
      EXPECT_NEAR(terms[0], terms[1] + (step < 20 ? terms[2] : 0), 1e-5) << step;
    }
  }
}

TEST(PairMethods, BothViewsCount) {
  for (const char* name : {"smd", "simclr"}) {
    EXPECT_EQ(views_of(options_of(name)), 2);
    Toys toys(options_of(name));
    const double before = toys.terms()[0];
    std::swap(toys.inputs.views[0], toys.inputs.views[1]);
    EXPECT_NEAR(toys.terms()[0], before, 1e-12) << name;
    toys.inputs.views[0] = toys.inputs.views[1];
    EXPECT_NE(toys.terms()[0], before) << name;
  }
}

// bf16 networks: the losses themselves are in f32.
TEST(PairMethods, RunInBf16) {
  for (const char* name : {"nce", "ccl", "cc", "smd", "simclr"}) {
    Toys exact(options_of(name), {.device = Device::cpu, .dtype = DType::f32});
    Toys rounded(options_of(name), {.device = Device::cpu, .dtype = DType::bf16});
    const double expected = exact.terms()[0];
    EXPECT_NEAR(rounded.terms()[0], expected, 0.05 * std::abs(expected)) << name;
    rounded.backward();
    for (double g : rounded.student_params.weights().grad.to_doubles()) EXPECT_TRUE(std::isfinite(g)) << name;
  }
}

}  // namespace
}  // namespace coss::test
