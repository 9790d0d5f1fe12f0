// KD, SLD, DKD, dino, dinoss and dist as methods: totals are the sums of their weighted terms, DKD warms up, and
// networks whose classifiers do not fit are refused.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/losses/toys.h"
#include "tests/support/support.h"

namespace coss::test {
namespace {

TEST(LogitMethods, TotalsAreTheWeightedTerms) {
  struct Case {
    MethodOptions options;
    std::vector<double> weights;
  };
  const Case cases[] = {
      {options_of("kd", {{"label_weight", 0.3}, {"distill_weight", 0.7}}), {0.7, 0.3}},
      {options_of("kd", {{"label_weight", 0}, {"distill_weight", 2}}), {2}},
      {options_of("dkd", {{"cross_entropy_weight", 0.5}, {"warmup_epochs", 0}}), {0.5, 1, 8}},
      {options_of("dinoss", {{"column_weight", 0.25}}), {1, 0.25}},
      {options_of("dist", {{"row_weight", 2}, {"column_weight", 3}}), {2, 3}},
  };
  for (const Case& test : cases) {
    Toys toys(test.options);
    const std::vector<double> terms = toys.terms();
    EXPECT_EQ(terms.size(), toys.method->term_names().size());
    EXPECT_EQ(terms.size(), test.weights.size() + 1);
    double total = 0;
    for (size_t i = 0; i < test.weights.size(); ++i) total += test.weights[i] * terms[i + 1];
    EXPECT_NEAR(terms[0], total, 1e-6 * std::abs(total)) << test.options.name;  // the weights are floats
  }
}

TEST(LogitMethods, SldIsKdWithoutLabels) {
  Toys sld(options_of("sld")), kd(options_of("kd", {{"label_weight", 0}, {"distill_weight", 1}}));
  sld.inputs.labels = kd.inputs.labels = Tensor();
  EXPECT_EQ(sld.terms()[0], kd.terms()[0]);
}

// 10 updates an epoch, 4 epochs: the weight begins at half an epoch's share and is 1 from 3.5 epochs on.
TEST(LogitMethods, DkdWarmsUp) {
  for (const Device device : {Device::reference, Device::cpu}) {
    Toys toys(options_of("dkd", {{"warmup_epochs", 4}}),
              {.device = device, .dtype = device == Device::cpu ? DType::f32 : DType::f64});
    for (const auto& [step, share] : {std::pair(0, 0.125), {10, 0.375}, {35, 1.0}, {1000, 1.0}}) {
      toys.set_step(step);
      const std::vector<double> terms = toys.terms();
      EXPECT_NEAR(terms[0], terms[1] + share * (terms[2] + 8 * terms[3]), 2e-6 * terms[0]) << step;
    }
  }
}

TEST(LogitMethods, RunInHalfPrecision) {
  for (const Device device : devices_under_test()) {
    for (const char* name : {"kd", "sld", "dkd", "dino", "dinoss", "dist"}) {
      Toys toys(options_of(name), {.device = device, .dtype = DType::bf16});
      toys.backward();
      for (const double value : toys.terms()) EXPECT_TRUE(std::isfinite(value)) << name;
      double squares = 0;
      for (const double g : toys.student_params.weights().grad.to_doubles()) squares += g * g;
      EXPECT_GT(squares, 0) << name;
      EXPECT_TRUE(std::isfinite(squares)) << name;
    }
  }
}

TEST(LogitMethods, RefuseClassifiersThatDoNotFit) {
  for (const char* name : {"kd", "sld", "dkd"}) {
    EXPECT_THROW(Toys(options_of(name), {.teacher_classes = 0}), Error) << name;
    EXPECT_THROW(Toys(options_of(name, {{"temperature", 0}})), Error) << name;
    try {
      Toys(options_of(name), {.teacher_classes = 5});
      FAIL() << name;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("set student.classes=5"), std::string::npos) << error.what();
    }
  }
  EXPECT_NO_THROW(Toys(options_of("dino"), {.teacher_classes = 0}));
  EXPECT_THROW(Toys(options_of("dino", {{"teacher_temperature", 0}})), Error);
}

}  // namespace
}  // namespace coss::test
