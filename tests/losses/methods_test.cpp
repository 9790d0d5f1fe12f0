// Every method of the registry: its gradient is the derivative of its loss, in double, and its terms have names.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "losses/frame/drawn.h"
#include "tests/losses/toys.h"
#include "tests/support/support.h"

namespace coss::test {
namespace {

// Even widths: IRG wants stages whose channels grow alike.
Toys toys_of(const MethodInfo& info, int64_t teacher_width, ToyOptions options = {}) {
  options.width = 4, options.teacher_width = teacher_width;
  options.window = options.teacher_window = 1;
  return Toys(options_of(info.name), options);
}

bool all_finite(const Tensor& tensor) {
  const std::vector<double> values = tensor.to_doubles();
  return std::all_of(values.begin(), values.end(), [](double x) { return std::isfinite(x); });
}

void expect_defined(Toys& toys) {
  toys.backward();
  EXPECT_TRUE(all_finite(toys.forward().values));
  EXPECT_TRUE(all_finite(toys.student_params.weights().grad));
  EXPECT_TRUE(all_finite(toys.student_params.rest().grad));
}

class Registry : public testing::TestWithParam<const MethodInfo*> {};

TEST_P(Registry, GradientsAreThoseOfTheLoss) {
  if (GetParam()->name == std::string("smd"))
    GTEST_SKIP() << "its weights are constants to the gradient; pair_loss_test.cpp checks them";
  for (const int64_t teacher_width : {4, 6}) {
    Toys toys = toys_of(*GetParam(), teacher_width);
    EXPECT_LT(toys.error_of_gradient(), 1e-6) << teacher_width;
  }
}

TEST_P(Registry, TermsHaveNamesAndTheTotalIsFirst) {
  Toys toys = toys_of(*GetParam(), 4);
  const LossTerms terms = toys.forward();
  const std::vector<std::string> names = toys.method->term_names();
  EXPECT_EQ(terms.values.shape(), Shape{int64_t(names.size())});
  EXPECT_EQ(names[0], "total");
  EXPECT_EQ(terms.values.to_doubles()[0], terms.total.value.item());
  for (const double value : terms.values.to_doubles()) EXPECT_TRUE(std::isfinite(value));
}

TEST_P(Registry, EveryDeviceAgreesInBothPrecisions) {
  const std::vector<double> expected = toys_of(*GetParam(), 6).forward().values.to_doubles();
  for (const Device device : devices_under_test()) {
    for (const DType dtype : {DType::f32, DType::bf16}) {
      Toys toys = toys_of(*GetParam(), 6, {.device = device, .dtype = dtype});
      const std::vector<double> terms = toys.forward().values.to_doubles();
      const double tolerance = dtype == DType::f32 ? 1e-4 : 0.1;
      for (size_t i = 0; i < terms.size(); ++i)
        EXPECT_NEAR(terms[i], expected[i], tolerance * (1 + std::abs(expected[i]))) << i << ", device " << int(device);
      expect_defined(toys);
    }
  }
}

TEST_P(Registry, OneImageGivesADefinedResult) {
  const std::string name = GetParam()->name;
  const bool normed = name == "simreg" || name == "byol";  // batch norm in their heads: one row has no variance
  const int64_t nearest = name == "bingo" ? 1 : 0;
  for (const Device device : devices_under_test()) {
    Toys toys =
        toys_of(*GetParam(), 6, {.device = device, .dtype = DType::f32, .batch = 1 + nearest, .nearest = nearest});
    if (normed) {
      EXPECT_THROW(toys.backward(), Error);
    } else {
      expect_defined(toys);
    }
  }
}

TEST_P(Registry, OneClassGivesADefinedResult) {
  for (const Device device : devices_under_test()) {
    Toys toys = toys_of(*GetParam(), 6, {.device = device, .dtype = DType::f32});
    toys.inputs.indices = Tensor::from(std::vector<int32_t>{0, 4, 8, 0, 4, 8}, {6}, device);
    toys.inputs.labels = Tensor::from(std::vector<int32_t>(6, 0), {6}, device);
    expect_defined(toys);
  }
}

TEST_P(Registry, LossAloneIsDefinedOnDrawnInputs) {
  if (!GetParam()->loss_alone) return;
  DrawnSizes sizes;
  sizes.width = 12, sizes.classes = 7, sizes.map = 3, sizes.channels = 6;
  sizes.queue = 33, sizes.queue_width = 8, sizes.negatives = 9, sizes.bank = 40;
  for (const Device device : devices_under_test()) {
    DrawnInputs inputs(sizes, device, 5);
    const LossCall loss = GetParam()->loss_alone(inputs);
    for (int call = 0; call < 2; ++call) {
      Tape tape;
      const LossTerms terms = loss();
      EXPECT_TRUE(all_finite(terms.values));
      tape.backward(terms.total);
      inputs.forget_gradients();
    }
  }
}

TEST_P(Registry, TeachersStayAsTheyAre) {
  if (!GetParam()->needs.teacher) return;
  Toys toys = toys_of(*GetParam(), 6);
  const std::vector<double> before = toys.teacher_params.weights().value.to_doubles();
  toys.backward();
  EXPECT_EQ(toys.teacher_params.weights().value.to_doubles(), before);
  toys.parts.teacher = nullptr;
  EXPECT_THROW(make_method(options_of(GetParam()->name), toys.parts), Error);
}

std::vector<const MethodInfo*> all_methods() {
  std::vector<const MethodInfo*> all;
  for (const MethodInfo& info : methods()) all.push_back(&info);
  return all;
}

INSTANTIATE_TEST_SUITE_P(Methods, Registry, testing::ValuesIn(all_methods()),
                         [](const auto& each) { return std::string(each.param->name); });

TEST(Methods, UnknownNamesGetASuggestion) {
  try {
    find_method("cos");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("did you mean \"coss\"?"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace coss::test
