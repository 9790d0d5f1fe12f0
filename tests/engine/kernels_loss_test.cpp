// Softmax family and losses against the reference.
#include "tests/engine/kernel_test.h"

namespace coss::test {

COSS_KERNEL_SUITE(Losses);

TEST_P(Losses, SoftmaxAndLogSoftmax) {
  for (Shape shape : {Shape{1, 1}, Shape{5, 10}, Shape{3, 1000}, Shape{33, 17}}) {
    for (DType dtype : {compute(), accumulator()}) {
      for (float temperature : {1.0f, 0.07f}) {
        Twin x = normal(shape, compute(), 1, 3), y = output(shape, dtype), log_y = output(shape, dtype);
        both([&](const Kernels& k, Context& c, int side) {
          k.softmax(c, temperature, x[side], y[side]);
          k.log_softmax(c, temperature, x[side], log_y[side]);
        });
        expect_close(y);
        expect_close(log_y);
      }
    }
  }
}

TEST_P(Losses, SoftmaxOfLargeValuesStaysFinite) {
  Twin x = twin({1000, 1000, -1000, 88, 89, 90}, {2, 3}, compute()), y = output({2, 3}, compute());
  both([&](const Kernels& k, Context& c, int side) { k.softmax(c, 1, x[side], y[side]); });
  expect_close(y);
}

TEST_P(Losses, CrossEntropy) {
  for (Shape shape : {Shape{4, 10}, Shape{33, 1000}, Shape{7, 3}}) {
    for (int64_t skipped : {0, 1, 3}) {  // of three rows each
      std::vector<double> chosen;
      for (int64_t r = 0; r < shape[0]; ++r) chosen.push_back(r % 3 < skipped ? -1 : double(r * 7 % shape[1]));
      Twin logits = normal(shape, compute(), 1, 3), labels = twin(chosen, {shape[0]}, DType::i32);
      Twin loss = output({1}, accumulator()), dlogits = output(shape, compute());
      both([&](const Kernels& k, Context& c, int side) {
        k.cross_entropy(c, logits[side], labels[side], loss[side], dlogits[side]);
      });
      expect_close(loss);
      expect_close(dlogits);
    }
  }
}

TEST_P(Losses, Coss) {
  for (Shape shape : {Shape{1, 8}, Shape{8, 1}, Shape{16, 64}, Shape{33, 130}, Shape{257, 512}}) {
    for (CossParams p : {CossParams{}, CossParams{142.857f, 1, 1}, CossParams{2, 1, 0}, CossParams{2, 0.5f, 3}}) {
      SCOPED_TRACE(shape.str());
      Twin student = normal(shape, compute(), 1), teacher = normal(shape, compute(), 2);
      Twin terms = output({3}, accumulator()), dstudent = output(shape, compute());
      both([&](const Kernels& k, Context& c, int side) {
        k.coss_loss(c, p, student[side], teacher[side], terms[side], dstudent[side]);
      });
      expect_close(terms, 10);  // the mean of cosines of unrelated vectors cancels to far less than its terms
      // One row or column is parallel to its partner up to sign: the true gradient is zero, and only rounding is left.
      if (shape[0] == 1 || shape[1] == 1) continue;
      expect_close(dstudent);
    }
  }
}

TEST_P(Losses, CossWithZeroRowsAndColumns) {
  const Shape shape{6, 10};
  for (bool zero_student : {false, true}) {
    Twin student = normal(shape, compute(), 1), teacher = normal(shape, compute(), 2);
    Twin& target = zero_student ? student : teacher;
    std::vector<double> values = target[0].to_doubles();
    for (int64_t i = 0; i < 60; ++i) values[size_t(i)] *= i / 10 == 2 || i % 10 == 3 ? 0 : 1;
    target = twin(values, shape, compute());
    Twin terms = output({3}, accumulator()), dstudent = output(shape, compute());
    both([&](const Kernels& k, Context& c, int side) {
      k.coss_loss(c, {}, student[side], teacher[side], terms[side], dstudent[side]);
    });
    expect_close(terms, 10);
    expect_close(dstudent);
  }
}

TEST_P(Losses, CossIsLeastForParallelFeatures) {
  Twin teacher = normal({32, 48}, compute(), 1), terms = output({3}, accumulator()),
       dstudent = output({32, 48}, compute());
  both([&](const Kernels& k, Context& c, int side) {
    k.coss_loss(c, {}, teacher[side], teacher[side], terms[side], dstudent[side]);
  });
  const std::vector<double> values = terms[0].to_doubles();
  EXPECT_NEAR(values[0], -2, 1e-5);
  EXPECT_NEAR(values[1], -1, 1e-5);
  EXPECT_NEAR(values[2], -1, 1e-5);
  for (double value : dstudent[0].to_doubles()) EXPECT_NEAR(value, 0, 1e-6);
}

}  // namespace coss::test
