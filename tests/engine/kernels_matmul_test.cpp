// Reductions and the matrix product against the reference.
#include "tests/engine/kernel_test.h"

namespace coss::test {

COSS_KERNEL_SUITE(Reduce);

TEST_P(Reduce, SumRows) {
  for (Shape shape : {Shape{1, 1}, Shape{7, 3}, Shape{1000, 65}, Shape{3, 4099}, Shape{2, 5, 6, 33}, Shape{5003, 48},
                      Shape{70, 1000}}) {
    for (float beta : {0.0f, 1.0f}) {
      Twin x = normal(shape, compute(), 1);
      Twin y = beta == 0 ? output({shape.back()}, accumulator()) : normal({shape.back()}, accumulator(), 2);
      both([&](const Kernels& k, Context& c, int side) { k.sum_rows(c, beta, x[side], y[side]); });
      expect_close(y);
    }
  }
}

TEST_P(Reduce, SumSquares) {
  for (DType dtype : {compute(), accumulator()}) {
    for (int64_t count : {1, 17, 100003}) {
      for (float beta : {0.0f, 1.0f}) {
        Twin x = normal({count}, dtype, 1),
             y = beta == 0 ? output({1}, accumulator()) : constant(3, {1}, accumulator());
        both([&](const Kernels& k, Context& c, int side) { k.sum_squares(c, beta, x[side], y[side]); });
        expect_close(y);
      }
    }
  }
}

TEST_P(Reduce, NormalizeRows) {
  for (DType dtype : {compute(), accumulator()}) {
    for (int64_t width : {1, 31, 512, 2056, 4099}) {
      Twin x = normal({9, width}, compute(), 1), y = output({9, width}, dtype);
      both([&](const Kernels& k, Context& c, int side) { k.normalize_rows(c, 1e-12f, x[side], y[side]); });
      expect_close(y);
    }
  }
  Twin zero = constant(0, {2, 5}, compute()), y = output({2, 5}, compute());
  both([&](const Kernels& k, Context& c, int side) { k.normalize_rows(c, 1e-12f, zero[side], y[side]); });
  EXPECT_EQ(y[0].to_doubles(), std::vector<double>(10, 0.0));
}

TEST_P(Reduce, ViewsAnywhere) {
  for (int64_t offset : {1, 3, 8}) {
    Twin all = normal({offset + 7 * 24}, compute(), 1);
    Twin x, y = output({24}, accumulator()), square = output({1}, accumulator()), rows = output({7, 24}, compute());
    for (int side : {0, 1}) x[side] = all[side].view(offset, {7, 24});
    both([&](const Kernels& k, Context& c, int side) {
      k.sum_rows(c, 0, x[side], y[side]);
      k.sum_squares(c, 0, x[side], square[side]);
      k.normalize_rows(c, 1e-12f, x[side], rows[side]);
    });
    expect_close(y);
    expect_close(square);
    expect_close(rows);
  }
}

COSS_KERNEL_SUITE(Matmul);

TEST_P(Matmul, TransposesSizesAndOutputTypes) {
  struct Size {
    int64_t rows, columns, inner;
  };
  for (Size size : {Size{1, 1, 1}, Size{5, 3, 7}, Size{17, 33, 65}, Size{64, 100, 48}, Size{130, 1, 31}}) {
    for (bool transpose_a : {false, true}) {
      for (bool transpose_b : {false, true}) {
        for (DType dtype : {compute(), accumulator()}) {
          SCOPED_TRACE(testing::Message() << size.rows << "x" << size.columns << "x" << size.inner << " transposes "
                                          << transpose_a << transpose_b << " into " << name_of(dtype));
          Twin a = normal(transpose_a ? Shape{size.inner, size.rows} : Shape{size.rows, size.inner}, compute(), 1);
          Twin b =
              normal(transpose_b ? Shape{size.columns, size.inner} : Shape{size.inner, size.columns}, compute(), 2);
          Twin y = output({size.rows, size.columns}, dtype), none;
          MatmulParams p;
          p.transpose_a = transpose_a;
          p.transpose_b = transpose_b;
          both([&](const Kernels& k, Context& c, int side) { k.matmul(c, p, a[side], b[side], none[side], y[side]); });
          expect_close(y);
        }
      }
    }
  }
}

TEST_P(Matmul, BetaAddsToTheOutput) {
  for (DType dtype : {compute(), accumulator()}) {
    Twin a = normal({30, 20}, compute(), 1), b = normal({20, 10}, compute(), 2), y = normal({30, 10}, dtype, 3, 5),
         none;
    MatmulParams p;
    p.beta = 1;
    both([&](const Kernels& k, Context& c, int side) { k.matmul(c, p, a[side], b[side], none[side], y[side]); });
    expect_close(y);
  }
}

TEST_P(Matmul, BiasAndActivation) {
  for (Activation activation :
       {Activation::none, Activation::relu, Activation::relu6, Activation::gelu, Activation::quick_gelu}) {
    for (bool with_bias : {false, true}) {
      Twin a = normal({33, 20}, compute(), 1), b = normal({13, 20}, compute(), 2), y = output({33, 13}, compute());
      Twin bias = with_bias ? normal({13}, accumulator(), 3, 3) : Twin();
      MatmulParams p;
      p.transpose_b = true;
      p.activation = activation;
      both([&](const Kernels& k, Context& c, int side) { k.matmul(c, p, a[side], b[side], bias[side], y[side]); });
      expect_close(y);
    }
  }
}

// Weights and gradients are views of flat buffers that begin at any element. A bias may be combined with accumulation.
TEST_P(Matmul, ViewsAnywhere) {
  for (int64_t offset : {1, 4, 8}) {
    for (DType dtype : {compute(), accumulator()}) {
      for (float beta : {0.0f, 1.0f}) {
        SCOPED_TRACE(testing::Message() << "offset " << offset << " into " << name_of(dtype) << " beta " << beta);
        const int64_t rows = 10, columns = 24, inner = 16;
        Twin all_a = normal({offset + rows * inner}, compute(), 1),
             all_b = normal({offset + inner * columns}, compute(), 2);
        Twin all_y = normal({offset + rows * columns}, dtype, 3, 4),
             all_bias = normal({offset + columns}, accumulator(), 4);
        Twin y;
        for (int side : {0, 1}) y[side] = all_y[side].view(offset, {rows, columns});
        MatmulParams p;
        p.beta = beta;
        if (beta == 0) p.activation = Activation::relu6;
        both([&](const Kernels& k, Context& c, int side) {
          k.matmul(c, p, all_a[side].view(offset, {rows, inner}), all_b[side].view(offset, {inner, columns}),
                   all_bias[side].view(offset, {columns}), y[side]);
        });
        expect_close(y);
      }
    }
  }
}

TEST_P(Matmul, ReadsNewValuesOfAReusedWeight) {
  Twin a = normal({8, 64}, compute(), 1), b = normal({32, 64}, compute(), 2), y = output({8, 32}, compute()), none;
  MatmulParams p;
  p.transpose_b = true;
  auto run = [&] {
    both([&](const Kernels& k, Context& c, int side) { k.matmul(c, p, a[side], b[side], none[side], y[side]); });
    expect_close(y);
  };
  run();
  both([&](const Kernels& k, Context& c, int side) { k.axpy(c, 1, b[side], b[side]); });
  run();
}

}  // namespace coss::test
