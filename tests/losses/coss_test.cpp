// CoSS: properties of the loss and its gradient that follow from the paper's formula.
#include "losses/coss.h"

#include <gtest/gtest.h>

#include <cmath>

#include "autograd/ops.h"
#include "tests/support/gradient_check.h"
#include "tests/support/support.h"

namespace coss::test {
namespace {

constexpr int64_t kRows = 6, kColumns = 5;

Tensor drawn(uint64_t seed) { return random_tensor({kRows, kColumns}, DType::f64, Device::reference, seed); }

double total(const CossParams& p, const Tensor& student, const Tensor& teacher) {
  return coss_loss(p, Var(student), teacher).total.value.item();
}

std::vector<double> gradient(const CossParams& p, const Tensor& student, const Tensor& teacher) {
  const Var x(student, std::make_shared<Grad>());
  Tape tape;
  tape.backward(coss_loss(p, x, teacher).total);
  return x.grad->value.to_doubles();
}

// Row i (or column j) multiplied by its own positive number.
Tensor stretched(const Tensor& x, bool rows) {
  std::vector<double> values = x.to_doubles();
  for (size_t i = 0; i < values.size(); ++i)
    values[i] *= 0.5 + double(rows ? i / size_t(kColumns) : i % size_t(kColumns));
  return Tensor::from(values, x.shape(), x.device());
}

TEST(Coss, GradientInDouble) {
  for (const CossParams& p : {CossParams{}, CossParams{142.857f, 1, 0.5f}, CossParams{3, 0, 1}}) {
    const Tensor teacher = drawn(2);
    EXPECT_LT(
        gradient_error([&](const std::vector<Var>& in) { return coss_loss(p, in[0], teacher).total; }, {drawn(1)}),
        1e-9);
  }
}

TEST(Coss, MinimumAtEquality) {
  const CossParams p{.scale = 10, .row_weight = 1, .column_weight = 0.5f};
  const Tensor teacher = drawn(2);
  EXPECT_NEAR(total(p, teacher, teacher), -15, 1e-12);
  EXPECT_GT(total(p, drawn(1), teacher), -15);
  for (const double g : gradient(p, teacher, teacher)) EXPECT_NEAR(g, 0, 1e-12);
}

TEST(Coss, TermsAreUnscaled) {
  const CossParams p{.scale = 10, .row_weight = 2, .column_weight = 3};
  const std::vector<double> values = coss_loss(p, Var(drawn(1)), drawn(2)).values.to_doubles();
  EXPECT_NEAR(values[0], 10 * (2 * values[1] + 3 * values[2]), 1e-12);
  EXPECT_LE(std::abs(values[1]), 1);
}

TEST(Coss, ScaleInvariance) {
  for (const bool rows : {true, false}) {
    const CossParams p{.scale = 1, .row_weight = rows ? 1.f : 0.f, .column_weight = rows ? 0.f : 1.f};
    EXPECT_NEAR(total(p, drawn(1), drawn(2)), total(p, stretched(drawn(1), rows), stretched(drawn(2), rows)), 1e-12);
    EXPECT_GT(std::abs(total(p, drawn(1), drawn(2)) - total(p, stretched(drawn(1), !rows), drawn(2))), 1e-3);
  }
}

// A cosine does not change along its argument: the gradient is orthogonal to each row, or column, of the student.
TEST(Coss, GradientIsOrthogonal) {
  for (const bool rows : {true, false}) {
    const CossParams p{.scale = 1, .row_weight = rows ? 1.f : 0.f, .column_weight = rows ? 0.f : 1.f};
    const std::vector<double> x = drawn(1).to_doubles(), g = gradient(p, drawn(1), drawn(2));
    std::vector<double> along(size_t(std::max(kRows, kColumns)), 0);
    for (size_t i = 0; i < x.size(); ++i) along[rows ? i / size_t(kColumns) : i % size_t(kColumns)] += x[i] * g[i];
    for (const double value : along) EXPECT_NEAR(value, 0, 1e-13);
  }
}

TEST(Coss, RefusesFeaturesThatDiffer) {
  EXPECT_THROW(coss_loss({}, Var(drawn(1)), random_tensor({kRows, 4}, DType::f64, Device::reference, 1)), Error);
}

}  // namespace
}  // namespace coss::test
