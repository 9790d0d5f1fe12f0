// Layer norm and rows of unit length against the reference.
#include "tests/engine/kernel_test.h"

namespace coss::test {

COSS_KERNEL_SUITE(LayerNorm);

TEST_P(LayerNorm, ForwardAndBackward) {
  for (Shape shape : {Shape{2, 5, 64}, Shape{3, 7, 13}, Shape{1, 1, 1, 3}, Shape{1001, 24}, Shape{2, 197, 192},
                      Shape{5, 384}, Shape{4, 770}, Shape{3, 3072}, Shape{6, 1}}) {
    SCOPED_TRACE(shape.str());
    const Shape width{shape.back()}, rows{shape.rows()};
    Twin x = normal(shape, compute(), 1, 2), gamma = normal(width, accumulator(), 2);
    Twin beta = normal(width, accumulator(), 3), y = output(shape, compute());
    Twin mean = output(rows, accumulator()), rstd = output(rows, accumulator());
    both([&](const Kernels& k, Context& c, int side) {
      k.layer_norm_forward(c, 1e-6f, x[side], gamma[side], beta[side], y[side], mean[side], rstd[side]);
    });
    // Rows of one element all give the same output, so its rounding error is not averaged.
    expect_close(y, shape.back() == 1 ? 4 : 1);
    expect_close(mean, 10);  // sums that cancel: the mean is far smaller than its terms
    expect_close(rstd);

    Twin dy = normal(shape, compute(), 4), dx = output(shape, compute());
    Twin dgamma = normal(width, accumulator(), 5), dbeta = normal(width, accumulator(), 6);
    Twin dgamma_again = dgamma, dbeta_again = normal(width, accumulator(), 6);
    dgamma_again = normal(width, accumulator(), 5);
    // Both backends get the same statistics: where all values of a row are nearly equal, rstd amplifies their rounding.
    mean[1] = convert(mean[0], DType::f64, Device::reference);
    rstd[1] = convert(rstd[0], DType::f64, Device::reference);
    both([&](const Kernels& k, Context& c, int side) {
      k.layer_norm_backward(c, x[side], gamma[side], mean[side], rstd[side], dy[side], dx[side], dgamma[side],
                            dbeta[side]);
    });
    if (shape.back() > 1) expect_close(dx, 4);  // two sums are subtracted
    expect_close(dgamma);
    expect_close(dbeta);

    // The gradient may be written over dy.
    both([&](const Kernels& k, Context& c, int side) {
      k.layer_norm_backward(c, x[side], gamma[side], mean[side], rstd[side], dy[side], dy[side], dgamma_again[side],
                            dbeta_again[side]);
    });
    EXPECT_EQ(dy[0].to_doubles(), dx[0].to_doubles());
    EXPECT_EQ(dgamma_again[0].to_doubles(), dgamma[0].to_doubles());
  }
}

TEST_P(LayerNorm, LargeMeanKeepsItsVariance) {
  // Mean 100 and deviation 1: the naive difference of squares would lose most digits in f32.
  if (compute() != DType::f32) GTEST_SKIP() << "16-bit inputs cannot hold such values";
  const Shape shape{9, 384}, width{384}, rows{9};
  std::vector<double> values = normal(shape, compute(), 1)[0].to_doubles();
  for (double& value : values) value += 100;
  Twin x = twin(values, shape, compute()), gamma = constant(1, width, accumulator());
  Twin beta = constant(0, width, accumulator()), y = output(shape, compute());
  Twin mean = output(rows, accumulator()), rstd = output(rows, accumulator());
  both([&](const Kernels& k, Context& c, int side) {
    k.layer_norm_forward(c, 1e-6f, x[side], gamma[side], beta[side], y[side], mean[side], rstd[side]);
  });
  expect_close(rstd, 100);  // the mean's rounding remains
  expect_close(y, 100);
}

TEST_P(LayerNorm, NormalizeRowsBackward) {
  for (Shape shape : {Shape{3, 5}, Shape{7, 64}, Shape{2, 3, 130}, Shape{64, 256}}) {
    for (DType dtype : {compute(), accumulator()}) {
      SCOPED_TRACE(shape.str());
      std::vector<double> values = normal(shape, compute(), 1)[0].to_doubles();
      // One row is zero and one shorter than eps: both are divided by eps, a constant.
      std::fill_n(values.begin(), shape.back(), 0.0);
      for (int64_t i = shape.back(); i < 2 * shape.back(); ++i) values[size_t(i)] *= 1e-3;
      Twin x = twin(values, shape, compute()), dy = normal(shape, dtype, 2), dx = output(shape, compute());
      both([&](const Kernels& k, Context& c, int side) {
        k.normalize_rows_backward(c, 0.25f, x[side], dy[side], dx[side]);
      });
      expect_close(dx, 4);  // the part along the row is subtracted
    }
  }
}

}  // namespace coss::test
