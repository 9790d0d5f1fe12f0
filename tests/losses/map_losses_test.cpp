// Losses over feature maps: FitNet's, AT, NST, VID, FT.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "autograd/ops.h"
#include "losses/at.h"
#include "losses/frame/fused.h"
#include "losses/frame/stages.h"
#include "losses/ft.h"
#include "losses/nst.h"
#include "losses/vid.h"
#include "tests/support/golden_file.h"
#include "tests/support/gradient_check.h"
#include "tests/support/support.h"

namespace coss::test {
namespace {

using Loss = std::function<LossTerms(const Var&, const Tensor&)>;

struct Case {
  const char* name;
  Loss loss;
  bool any_channels;  // student's and teacher's may differ
};

const std::vector<Case>& cases() {
  static const std::vector<Case> list{
      {"mse", [](const Var& s, const Tensor& t) { return mse_loss("mse", s, t); }, false},
      {"at", at_loss, true},
      {"nst", nst_loss, true},
      {"ft_map", [](const Var& s, const Tensor& t) { return ft_loss(false, s, t); }, true},
      {"ft_whole", [](const Var& s, const Tensor& t) { return ft_loss(true, s, t); }, false},
  };
  return list;
}

Tensor drawn(Shape shape, uint64_t seed, DType dtype = DType::f64, Device device = Device::reference) {
  return random_tensor(shape, dtype, device, seed);
}

struct Result {
  double value;
  std::vector<double> gradient;
};

Result run(const Loss& loss, const Tensor& student, const Tensor& teacher) {
  const Var x(student, std::make_shared<Grad>());
  Tape tape;
  const LossTerms terms = loss(x, teacher);
  tape.backward(terms.total);
  return {terms.total.value.item(), x.grad->value.to_doubles()};
}

// The student's map multiplied by a number, or channel by channel.
Tensor stretched(const Tensor& x, bool by_channel) {
  std::vector<double> values = x.to_doubles();
  const size_t channels = size_t(x.shape().back());
  for (size_t i = 0; i < values.size(); ++i) values[i] *= by_channel ? 0.5 + double(i % channels) : 3;
  return Tensor::from(values, x.shape(), x.device());
}

TEST(MapLosses, GradientInDouble) {
  for (const Case& c : cases()) {
    // More positions than channels, and fewer.
    for (const Shape& shape : {Shape{2, 3, 2, 5}, Shape{2, 2, 2, 5}}) {
      const Tensor teacher = drawn({2, shape[1], 2, c.any_channels ? 7 : 5}, 2);
      EXPECT_LT(gradient_error([&](const std::vector<Var>& in) { return c.loss(in[0], teacher).total; },
                               {drawn(shape, 1)}, 1e-6),
                1e-9)
          << c.name;
    }
  }
}

TEST(MapLosses, VidGradientInDouble) {
  const Tensor teacher = drawn({2, 3, 2, 5}, 2);
  EXPECT_LT(gradient_error([&](const std::vector<Var>& in) { return vid_loss(in[0], in[1], teacher).total; },
                           {drawn({2, 3, 2, 5}, 1), drawn({5}, 3)}),
            1e-9);
}

// The file's numbers are rounded to float.
TEST(MapLosses, AgreeWithPytorch) {
  const GoldenFile goldens("map_loss.safetensors");
  for (int batch = 0; batch < 3; ++batch) {
    const std::string prefix = std::to_string(batch) + ".";
    const auto tensor = [&](const char* key) { return goldens.tensor(prefix + key, DType::f64, Device::reference); };
    const auto same = [&](const std::string& name, const Result& result) {
      EXPECT_NEAR(result.value / goldens.number(prefix + name + ".loss"), 1, 1e-7) << prefix << name;
      EXPECT_LT(normalized_error(result.gradient, goldens.values(prefix + name + ".gradient")), 1e-14)
          << prefix << name;
    };
    for (const Case& c : cases())
      same(c.name, run(c.loss, tensor("student"), tensor(c.any_channels ? "teacher" : "alike")));
    const Var spread(tensor("spread"), std::make_shared<Grad>());
    same("vid", run([&](const Var& s, const Tensor& t) { return vid_loss(s, spread, t); }, tensor("student"),
                    tensor("alike")));
    EXPECT_LT(normalized_error(spread.grad->value.to_doubles(), goldens.values(prefix + "vid.spread_gradient")), 1e-14);
  }
}

TEST(MapLosses, LeastAtEquality) {
  for (const Case& c : cases()) {
    const Tensor teacher = drawn({3, 2, 3, 5}, 2);
    const Result equal = run(c.loss, teacher, teacher);
    EXPECT_NEAR(equal.value, 0, 1e-15) << c.name;
    for (const double g : equal.gradient) EXPECT_NEAR(g, 0, 1e-9) << c.name;
    EXPECT_GT(run(c.loss, drawn({3, 2, 3, 5}, 1), teacher).value, 1e-3) << c.name;
  }
}

// Where the guess is right the loss is log(v) / 2, which is least for the least variance.
TEST(MapLosses, VidOfTheRightGuess) {
  const Tensor teacher = drawn({3, 2, 3, 5}, 2), spread = drawn({5}, 3);
  double expected = 0;
  for (const double raw : spread.to_doubles()) expected += std::log(std::log1p(std::exp(raw)) + 1e-5) / 2 / 5;
  EXPECT_NEAR(vid_loss(Var(teacher), Var(spread), teacher).total.value.item(), expected, 1e-9);
}

// AT and FT do not depend on the length of a map, NST not on that of a single channel.
TEST(MapLosses, ScaleInvariance) {
  const Tensor student = drawn({3, 2, 3, 5}, 1), teacher = drawn({3, 2, 3, 5}, 2);
  for (const Case& c : cases()) {
    const std::string name = c.name;
    const double before = run(c.loss, student, teacher).value;
    const double longer = run(c.loss, stretched(student, false), teacher).value;
    const double uneven = run(c.loss, stretched(student, true), teacher).value;
    EXPECT_EQ(std::abs(longer - before) < 1e-12, name != "mse") << name;
    EXPECT_EQ(std::abs(uneven - before) < 1e-12, name == "nst") << name;
  }
}

TEST(MapLosses, SixteenBitsAreNearFloat) {
  for (const Device device : devices_under_test()) {
    for (const Case& c : cases()) {
      const Tensor student = drawn({3, 4, 4, 6}, 1, DType::bf16, device),
                   teacher = drawn({3, 4, 4, 6}, 2, DType::bf16, device);
      const Result half = run(
          [&](const Var& s, const Tensor& t) {
            const bool accumulates = std::string(c.name).starts_with("ft");
            return accumulates ? c.loss(accumulated(s), accumulated(Var(t)).value) : c.loss(s, t);
          },
          student, teacher);
      const Result full = run(c.loss, convert(student, DType::f32, device), convert(teacher, DType::f32, device));
      EXPECT_NEAR(half.value / full.value, 1, 1e-5) << c.name;
      EXPECT_LT(normalized_error(half.gradient, full.gradient), 1e-4) << c.name;
    }
  }
}

TEST(MapLosses, OneImageAndMapsOfZeros) {
  const Tensor teacher = drawn({1, 2, 3, 5}, 2);
  for (const Case& c : cases()) {
    for (const Tensor& student :
         {drawn({1, 2, 3, 5}, 1), Tensor::from(std::vector<double>(30, 0.0), {1, 2, 3, 5}, Device::reference)}) {
      const Result result = run(c.loss, student, teacher);
      EXPECT_TRUE(std::isfinite(result.value)) << c.name;
      for (const double g : result.gradient) EXPECT_TRUE(std::isfinite(g)) << c.name;
    }
  }
}

TEST(MapLosses, RefuseMapsThatDoNotFit) {
  for (const Case& c : cases()) EXPECT_THROW(c.loss(Var(drawn({2, 3, 3, 5}, 1)), drawn({2, 2, 3, 5}, 2)), Error);
  EXPECT_THROW(vid_loss(Var(drawn({2, 3, 3, 5}, 1)), Var(drawn({4}, 1)), drawn({2, 3, 3, 5}, 2)), Error);
}

TEST(MapLosses, StagesAreMatchedFromTheLast) {
  using Pairs = std::vector<std::pair<size_t, size_t>>;
  const std::vector<Shape> four{{1, 56, 56, 8}, {1, 28, 28, 16}, {1, 14, 14, 32}, {1, 7, 7, 64}};
  const std::vector<Shape> five{{1, 112, 112, 4}, {1, 56, 56, 8}, {1, 28, 28, 9}, {1, 14, 14, 12}, {1, 7, 7, 15}};
  EXPECT_EQ(matching_stages("at", four, five), (Pairs{{0, 1}, {1, 2}, {2, 3}, {3, 4}}));
  const std::vector<Shape> odd{{1, 15, 15, 4}, {1, 14, 14, 4}};
  EXPECT_EQ(matching_stages("at", four, odd), (Pairs{{3, 1}}));
  EXPECT_THROW(matching_stages("at", four, {{1, 50, 64}}), Error);
}

TEST(MapLosses, TheLargerMapIsAveraged) {
  const Tensor large = drawn({2, 6, 4, 3}, 1), small = drawn({2, 3, 2, 3}, 2);
  EXPECT_EQ(of_one_size(Var(large), Var(small)).student.shape(), small.shape());
  EXPECT_EQ(of_one_size(Var(small), Var(large)).teacher.shape(), small.shape());
  EXPECT_EQ(of_one_size(Var(large), Var(large)).student.value.to_doubles(), large.to_doubles());
}

}  // namespace
}  // namespace coss::test
