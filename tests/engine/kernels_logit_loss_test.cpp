// Losses between logits against the reference.
#include "tests/engine/kernel_test.h"

namespace coss::test {

COSS_KERNEL_SUITE(LogitLosses);

using Kind = SoftCrossEntropyParams::Kind;

TEST_P(LogitLosses, SoftCrossEntropy) {
  for (const Shape shape : {Shape{1, 1}, Shape{1, 10}, Shape{70, 5}, Shape{7, 37}, Shape{2, 1003}, Shape{1, 4601}}) {
    for (const Kind kind : {Kind::cross_entropy, Kind::divergence, Kind::symmetric}) {
      for (SoftCrossEntropyParams p :
           {SoftCrossEntropyParams{kind, 4, 4, 16}, SoftCrossEntropyParams{kind, 0.2f, 0.07f}}) {
        SCOPED_TRACE(shape.str() + " kind " + std::to_string(kind) + " at " + std::to_string(p.student_temperature));
        if (compute() == DType::f16) p.weight *= 256;  // avoids subnormal numbers
        Twin student = normal(shape, compute(), 1), teacher = normal(shape, compute(), 2);
        Twin loss = output({1}, accumulator()), dstudent = output(shape, compute());
        both([&](const Kernels& k, Context& c, int side) {
          k.soft_cross_entropy(c, p, student[side], teacher[side], loss[side], dstudent[side]);
        });
        if (shape[1] == 1) {
          EXPECT_EQ(loss[0].item(), 0);
          for (const double value : dstudent[0].to_doubles()) EXPECT_EQ(value, 0);
          continue;
        }
        expect_close(loss, 10);  // a divergence is the small difference of greater sums
        // Exponents of up to 50 have an error of 4e-6 in float; in 16 bits the result's rounding is greater.
        expect_close(dstudent, compute() == DType::f32 ? 10 : 2);
      }
    }
  }
}

// The teacher's softmax becomes one-hot. Differences of logits are exact, so even this temperature loses little.
TEST_P(LogitLosses, SharpTeachers) {
  for (const float temperature : {1e-2f, 1e-4f}) {
    const SoftCrossEntropyParams p{Kind::cross_entropy, 0.2f, temperature, 50};
    Twin student = normal({7, 70}, compute(), 1), teacher = normal({7, 70}, compute(), 2, 3);
    Twin loss = output({1}, accumulator()), dstudent = output({7, 70}, compute());
    both([&](const Kernels& k, Context& c, int side) {
      k.soft_cross_entropy(c, p, student[side], teacher[side], loss[side], dstudent[side]);
    });
    expect_close(loss);
    expect_close(dstudent, compute() == DType::f32 ? 10 : 2);
  }
}

TEST_P(LogitLosses, EqualLogitsHaveNoDivergence) {
  for (const Kind kind : {Kind::divergence, Kind::symmetric}) {
    Twin x = normal({9, 33}, compute(), 1, 5), loss = output({1}, accumulator()), dx = output({9, 33}, compute());
    both([&](const Kernels& k, Context& c, int side) {
      k.soft_cross_entropy(c, {kind, 2, 2}, x[side], x[side], loss[side], dx[side]);
    });
    EXPECT_NEAR(loss[0].item(), 0, 1e-7);
    for (const double value : dx[0].to_doubles()) EXPECT_NEAR(value, 0, 1e-7);
  }
}

TEST_P(LogitLosses, Dkd) {
  for (const Shape shape : {Shape{1, 2}, Shape{1, 10}, Shape{70, 5}, Shape{7, 37}, Shape{2, 1003}}) {
    for (const int64_t skipped : {0, 1, 3}) {  // of three rows each
      SCOPED_TRACE(shape.str());
      std::vector<double> chosen;
      for (int64_t r = 0; r < shape[0]; ++r) chosen.push_back(r % 3 < skipped ? -1 : double(r * 7 % shape[1]));
      Twin student = normal(shape, compute(), 1, 3), teacher = normal(shape, compute(), 2, 3);
      Twin labels = twin(chosen, {shape[0]}, DType::i32);
      Twin terms = output({3}, accumulator()), dstudent = output(shape, compute());
      const DkdParams p{.target_weight = 1.5f, .other_weight = 8, .temperature = 3};
      both([&](const Kernels& k, Context& c, int side) {
        k.dkd_loss(c, p, student[side], teacher[side], labels[side], terms[side], dstudent[side]);
      });
      expect_close(terms);
      expect_close(dstudent, 3);  // few elements: their rounding is not averaged
    }
  }
}

// Student and teacher are certain: the probability of all other classes is too small to compute as 1 - p.
TEST_P(LogitLosses, DkdOfConfidentRows) {
  Twin student = twin({60, 1, 2, 0, 3, 70}, {2, 3}, compute()), teacher = twin({50, 2, 0, 1, 0, 55}, {2, 3}, compute());
  Twin labels = twin({0, 2}, {2}, DType::i32);
  Twin terms = output({3}, accumulator()), dstudent = output({2, 3}, compute());
  both([&](const Kernels& k, Context& c, int side) {
    k.dkd_loss(c, {1, 8, 1}, student[side], teacher[side], labels[side], terms[side], dstudent[side]);
  });
  EXPECT_NEAR(terms[0].to_doubles()[1], 0, 1e-7);
  EXPECT_NEAR(terms[0].to_doubles()[2], terms[1].to_doubles()[2], 1e-6 * terms[1].to_doubles()[2]);
  expect_close(dstudent);
}

// A label that is no class: the CPU says which; a GPU cannot throw, so its loss is NaN.
TEST_P(LogitLosses, LabelsThatAreNoClass) {
  Twin x = normal({3, 4}, compute(), 1), labels = twin({0, 4, 1}, {3}, DType::i32);
  Twin terms = output({3}, accumulator()), dx = output({3, 4}, compute());
  auto run = [&] {
    kernels(backend_.device).dkd_loss(context(backend_.device), {}, x[0], x[0], labels[0], terms[0], dx[0]);
  };
  if (backend_.device == Device::cpu) {
    EXPECT_THROW(run(), Error);
  } else {
    run();
    EXPECT_TRUE(std::isnan(terms[0].to_doubles()[0]));
    for (const double value : dx[0].to_doubles()) EXPECT_TRUE(std::isfinite(value));
  }
}

TEST_P(LogitLosses, TemperaturesMustBePositive) {
  Twin x = normal({2, 3}, compute(), 1), loss = output({3}, accumulator()), dx = output({2, 3}, compute());
  Twin labels = twin({0, 1}, {2}, DType::i32);
  const Kernels& k = kernels(backend_.device);
  Context& c = context(backend_.device);
  EXPECT_THROW(k.soft_cross_entropy(c, {Kind::divergence, 0, 1}, x[0], x[0], loss[0], dx[0]), Error);
  EXPECT_THROW(k.soft_cross_entropy(c, {Kind::divergence, 1, -1}, x[0], x[0], loss[0], dx[0]), Error);
  EXPECT_THROW(k.dkd_loss(c, {1, 8, 0}, x[0], x[0], labels[0], loss[0], dx[0]), Error);
}

TEST_P(LogitLosses, TheSameInputsGiveTheSameBytes) {
  const Shape shape{11, 133};
  Twin x = normal(shape, compute(), 1), t = normal(shape, compute(), 2);
  Twin labels = twin(std::vector<double>(11, 7), {11}, DType::i32);
  std::vector<double> first;
  for (int run = 0; run < 2; ++run) {
    Twin loss = output({1}, accumulator()), terms = output({3}, accumulator());
    Twin dx = output(shape, compute()), ds = output(shape, compute());
    Context& c = context(backend_.device);
    kernels(backend_.device).soft_cross_entropy(c, {Kind::symmetric, 2, 3}, x[0], t[0], loss[0], dx[0]);
    kernels(backend_.device).dkd_loss(c, {}, x[0], t[0], labels[0], terms[0], ds[0]);
    std::vector<double> all;
    for (const Tensor& y : {loss[0], terms[0], dx[0], ds[0]}) {
      const std::vector<double> values = y.to_doubles();
      all.insert(all.end(), values.begin(), values.end());
    }
    if (run == 0) first = all;
    EXPECT_EQ(all, first);
  }
}

}  // namespace coss::test
