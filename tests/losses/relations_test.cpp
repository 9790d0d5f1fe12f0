// SP, PKT, RKD, IRG and EGA: properties of their formulas, and values and gradients of PyTorch.
#include "losses/frame/relations.h"

#include <gtest/gtest.h>

#include <cmath>

#include "autograd/ops.h"
#include "losses/ega.h"
#include "losses/irg.h"
#include "losses/pkt.h"
#include "losses/rkd.h"
#include "losses/sp.h"
#include "tests/support/golden_file.h"
#include "tests/support/gradient_check.h"
#include "tests/support/support.h"

namespace coss::test {
namespace {

struct Relation {
  const char* name;
  std::function<LossTerms(const Var& student, const Tensor& teacher)> loss;
  double least = 0;                                         // for equal features
  bool translates = false, scales = false, rotates = true;  // what leaves the loss as it is
};

const std::vector<Relation>& relations() {
  static const std::vector<Relation> table{
      {"sp", sp_loss, 0, false, true},
      {"pkt", pkt_loss, 0, false, true},
      {"rkd", [](const Var& s, const Tensor& t) { return rkd_loss({}, s, t); }, 0, true, true},
      {"irg", irg_loss, 0, true, true},
      {"irg_path", irg_path_loss, 0, false, true},
      {"ega", [](const Var& s, const Tensor& t) { return ega_loss({}, s, t); }, 0, false, true, false},
  };
  return table;
}

Tensor drawn(int64_t rows, int64_t width, uint64_t seed) {
  return random_tensor({rows, width}, DType::f64, Device::reference, seed);
}

double value(const Relation& of, const Tensor& student, const Tensor& teacher) {
  return of.loss(Var(student), teacher).total.value.item();
}

std::vector<double> gradient(const Relation& of, const Tensor& student, const Tensor& teacher) {
  const Var x(student, std::make_shared<Grad>());
  Tape tape;
  tape.backward(of.loss(x, teacher).total);
  return x.grad->value.to_doubles();
}

// x * factor + shift, the columns in reverse order where `turned`.
Tensor moved(const Tensor& x, double factor, double shift, bool turned) {
  const std::vector<double> from = x.to_doubles();
  std::vector<double> to = from;
  const int64_t width = x.shape()[1];
  for (int64_t i = 0; i < x.numel(); ++i) {
    const int64_t column = i % width;
    to[size_t(i)] = from[size_t(turned ? i - column + width - 1 - column : i)] * factor + shift * double(1 + column);
  }
  return Tensor::from(to, x.shape(), x.device());
}

TEST(Relations, GradientsInDouble) {
  for (const Relation& of : relations()) {
    const Tensor teacher = drawn(6, 5, 2);
    const auto loss = [&](const std::vector<Var>& in) { return of.loss(in[0], teacher).total; };
    EXPECT_LT(gradient_error(loss, {drawn(6, 5, 1)}), 1e-9) << of.name;
  }
  EXPECT_LT(gradient_error([](const std::vector<Var>& in) { return centered_over_batch(in[0]); }, {drawn(6, 5, 1)}),
            1e-9);
}

TEST(Relations, AsPyTorch) {
  constexpr int64_t kBatches[3][3] = {{7, 5, 9}, {13, 11, 4}, {19, 33, 33}};  // rows, widths
  const GoldenFile goldens("relation_loss.safetensors");
  for (const Relation& of : relations())
    for (uint64_t batch = 0; batch < 3; ++batch)
      for (const Device device : {Device::reference, Device::cpu}) {
        const int64_t rows = kBatches[batch][0], in = kBatches[batch][1];
        const int64_t out = of.name == std::string("ega") ? in : kBatches[batch][2];
        const DType dtype = device == Device::cpu ? DType::f32 : DType::f64;
        const auto features = [&](const char* name, int64_t width) {
          return make_tensor(golden_noise(name, rows * width, batch), {rows, width}, dtype, device);
        };
        const std::string key = of.name + ("." + std::to_string(batch));
        SCOPED_TRACE(key + " on " + name_of(device));
        const Tensor student = features("student", in), teacher = features("teacher", out);
        const double expected = goldens.number(key + ".loss");
        EXPECT_NEAR(value(of, student, teacher), expected, std::abs(expected) * (device == Device::cpu ? 1e-5 : 2e-7));
        EXPECT_LT(normalized_error(gradient(of, student, teacher), goldens.values(key + ".gradient")),
                  device == Device::cpu ? 1e-10 : 1e-13);
      }
}

// EGA's term of nodes is not least there: the nodes' correlations with each other are not the identity.
TEST(Relations, LeastForEqualFeatures) {
  for (const Relation& of : relations()) {
    const Tensor teacher = drawn(6, 5, 2);
    const LossTerms terms = of.loss(Var(teacher), teacher);
    if (of.name == std::string("ega")) {
      EXPECT_NEAR(terms.values.to_doubles()[2], 0, 1e-12);
      continue;
    }
    EXPECT_NEAR(terms.total.value.item(), 0, 1e-13) << of.name;
    // PKT adds 1e-7 to probabilities, in the gradient of one of the two only.
    for (const double g : gradient(of, teacher, teacher)) EXPECT_NEAR(g, 0, 1e-8) << of.name;
    EXPECT_GT(value(of, drawn(6, 5, 1), teacher), 1e-6) << of.name;
  }
}

TEST(Relations, Invariances) {
  for (const Relation& of : relations()) {
    const Tensor student = drawn(6, 5, 1), teacher = drawn(6, 5, 2);
    const double here = value(of, student, teacher);
    const auto same = [&](const Tensor& other) { return std::abs(value(of, other, teacher) - here) < 1e-9 * here; };
    EXPECT_EQ(same(moved(student, 3, 0, false)), of.scales) << of.name;
    EXPECT_EQ(same(moved(student, 1, 2, false)), of.translates) << of.name;
    EXPECT_EQ(same(moved(student, 1, 0, true)), of.rotates) << of.name;
  }
}

TEST(Relations, OneRowAndEqualRowsAreDefined) {
  for (const Relation& of : relations()) {
    for (const Tensor& student :
         {drawn(1, 5, 1), moved(drawn(4, 5, 1), 0, 1, false), moved(drawn(4, 5, 1), 0, 0, false)}) {
      const Tensor teacher = drawn(student.shape()[0], 5, 2);
      EXPECT_TRUE(std::isfinite(value(of, student, teacher))) << of.name;
      EXPECT_TRUE(std::isfinite(value(of, teacher, student))) << of.name;
      for (const double g : gradient(of, student, teacher)) EXPECT_TRUE(std::isfinite(g)) << of.name;
    }
  }
}

// What methods do with bf16 features: the same values, widened.
TEST(Relations, FeaturesInBf16) {
  for (const Relation& of : relations()) {
    const Tensor student = drawn(9, 16, 1), teacher = drawn(9, 16, 2);
    const auto rounded = [](const Tensor& x) { return flat_rows(Var(convert(x, DType::bf16, Device::cpu))).value; };
    EXPECT_NEAR(value(of, rounded(student), rounded(teacher)) / value(of, student, teacher), 1, 0.02) << of.name;
  }
}

TEST(Relations, RefuseWhatDoesNotFit) {
  EXPECT_THROW(sp_loss(Var(drawn(6, 5, 1)), drawn(5, 5, 2)), Error);
  EXPECT_THROW(rkd_loss({}, Var(drawn(6, 5, 1)), convert(drawn(6, 5, 1), DType::f32, Device::cpu)), Error);
  EXPECT_THROW(ega_loss({}, Var(drawn(6, 5, 1)), drawn(6, 4, 2)), Error);
}

}  // namespace
}  // namespace coss::test
