// Every method of the registry: its gradient is that of its loss, in double, and its terms have names.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/losses/toys.h"
#include "tests/support/support.h"

namespace coss::test {
namespace {

// Even widths: IRG wants stages whose channels grow alike.
Toys toys_of(const MethodInfo& info, int64_t teacher_width) {
  return Toys(options_of(info.name), {.width = 4, .teacher_width = teacher_width, .window = 1, .teacher_window = 1});
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
