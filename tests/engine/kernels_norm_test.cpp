// Batch norm + add + activation and the folding of frozen norms against the reference.
#include "tests/engine/kernel_test.h"

namespace coss::test {

namespace {
struct NormCase {
  Shape shape;
  Activation activation;
  bool residual;
};

std::vector<NormCase> norm_cases() {
  std::vector<NormCase> cases;
  for (Shape shape : {Shape{4, 5, 5, 64}, Shape{2, 3, 7, 13}, Shape{40, 1, 1, 1}, Shape{1001, 24}, Shape{3, 2050},
                      Shape{8, 12, 12, 72}, Shape{2, 9, 520}, Shape{37, 136}}) {
    for (Activation activation : {Activation::none, Activation::relu, Activation::relu6}) {
      for (bool residual : {false, true}) cases.push_back({shape, activation, residual});
    }
    for (Activation activation : {Activation::silu, Activation::hardswish}) cases.push_back({shape, activation, false});
  }
  return cases;
}
}  // namespace

COSS_KERNEL_SUITE(Norm);

TEST_P(Norm, ForwardAndBackward) {
  for (const NormCase& test : norm_cases()) {
    SCOPED_TRACE(testing::Message() << test.shape.str() << " activation " << int(test.activation) << " residual "
                                    << test.residual);
    const Shape shape = test.shape, channels{shape.back()}, bits{(shape.numel() + 7) / 8};
    NormParams p;
    p.activation = test.activation;
    Twin x = normal(shape, compute(), 1, 2), gamma = normal(channels, accumulator(), 2, 2);
    Twin beta = normal(channels, accumulator(), 3, 2), residual = test.residual ? normal(shape, compute(), 4) : Twin();
    Twin running_mean = normal(channels, accumulator(), 5), running_var = constant(1.5, channels, accumulator());
    Twin y = output(shape, compute()), mean = output(channels, accumulator()), rstd = output(channels, accumulator());
    const bool masked = test.activation != Activation::none && clips(test.activation);
    Twin mask = masked ? output(bits, DType::u8) : Twin();
    both([&](const Kernels& k, Context& c, int side) {
      k.norm_act_forward(c, p, x[side], gamma[side], beta[side], residual[side], running_mean[side], running_var[side],
                         y[side], mean[side], rstd[side], mask[side]);
    });
    expect_close(y);
    expect_close(mean, 10);  // sums that cancel: the mean is far smaller than its terms
    expect_close(rstd);
    expect_close(running_mean);
    expect_close(running_var);

    Twin dy = normal(shape, compute(), 6), dx = output(shape, compute());
    Twin dresidual = test.residual ? output(shape, compute()) : Twin();
    Twin dgamma = normal(channels, accumulator(), 7, 10), dbeta = normal(channels, accumulator(), 8, 10);
    // Where a value is at a kink within rounding, the two masks may differ. So both backends get the same mask for
    // backward.
    if (!mask[0].empty()) {
      const auto tested = mask[0].to_vector<uint8_t>(), exact = mask[1].to_vector<uint8_t>();
      int64_t differing = 0;
      for (size_t i = 0; i < tested.size(); ++i) differing += __builtin_popcount(unsigned(tested[i] ^ exact[i]));
      EXPECT_LE(differing, shape.numel() / 10000);
      mask[1] = Tensor::from(tested, bits, Device::reference);
    }
    both([&](const Kernels& k, Context& c, int side) {
      k.norm_act_backward(c, p, x[side], mask[side], gamma[side], beta[side], mean[side], rstd[side], dy[side],
                          dx[side], dresidual[side], dgamma[side], dbeta[side]);
    });
    expect_close(dx);
    expect_close(dgamma);
    expect_close(dbeta);
    if (test.residual) expect_close(dresidual);

    // The gradient may be written over dy.
    Twin no_residual, dgamma_again = constant(0, channels, accumulator()), dbeta_again = dgamma_again;
    dbeta_again = constant(0, channels, accumulator());
    both([&](const Kernels& k, Context& c, int side) {
      k.norm_act_backward(c, p, x[side], mask[side], gamma[side], beta[side], mean[side], rstd[side], dy[side],
                          dy[side], no_residual[side], dgamma_again[side], dbeta_again[side]);
    });
    EXPECT_EQ(dy[0].to_doubles(), dx[0].to_doubles());
  }
}

// Many rows: the sums of many blocks, which a separate kernel adds, and blocks with several passes. Views that do not
// begin at a multiple of 16 bytes.
TEST_P(Norm, ManyRowsAndViewsAnywhere) {
  struct Case {
    Shape shape;
    int64_t offset;
  };
  for (const Case& test : {Case{{9001, 64}, 0}, Case{{3001, 16}, 0}, Case{{301, 64}, 3}, Case{{40, 5}, 1}}) {
    SCOPED_TRACE(testing::Message() << test.shape.str() << " at " << test.offset);
    const Shape shape = test.shape, channels{shape.back()}, bits{(shape.numel() + 7) / 8};
    auto placed = [&](Twin tensor) {
      Twin all = output({shape.numel() + test.offset}, compute());
      for (int side : {0, 1}) {
        std::vector<double> values = all[side].to_doubles();
        const std::vector<double> inner = tensor[side].to_doubles();
        std::copy(inner.begin(), inner.end(), values.begin() + test.offset);
        all[side] = make_tensor(values, all[side].shape(), all[side].dtype(), all[side].device());
        all[side] = all[side].view(test.offset, shape);
      }
      return all;
    };
    NormParams p;
    p.activation = Activation::relu;
    Twin x = placed(normal(shape, compute(), 1, 2)), residual = placed(normal(shape, compute(), 2));
    Twin gamma = normal(channels, accumulator(), 3), beta = normal(channels, accumulator(), 4);
    Twin running_mean = constant(0, channels, accumulator()), running_var = constant(1, channels, accumulator());
    Twin y = placed(output(shape, compute())), mask = output(bits, DType::u8);
    Twin mean = output(channels, accumulator()), rstd = output(channels, accumulator());
    both([&](const Kernels& k, Context& c, int side) {
      k.norm_act_forward(c, p, x[side], gamma[side], beta[side], residual[side], running_mean[side], running_var[side],
                         y[side], mean[side], rstd[side], mask[side]);
    });
    expect_close(y);
    expect_close(mean, 100);  // the sum over thousands of rows cancels to a hundredth of its terms
    expect_close(rstd);
    expect_close(running_var);

    mask[1] = Tensor::from(mask[0].to_vector<uint8_t>(), bits, Device::reference);
    Twin dy = placed(normal(shape, compute(), 5)), dx = placed(output(shape, compute()));
    Twin dresidual = placed(output(shape, compute()));
    Twin dgamma = constant(0, channels, accumulator()), dbeta = constant(0, channels, accumulator());
    both([&](const Kernels& k, Context& c, int side) {
      k.norm_act_backward(c, p, x[side], mask[side], gamma[side], beta[side], mean[side], rstd[side], dy[side],
                          dx[side], dresidual[side], dgamma[side], dbeta[side]);
    });
    expect_close(dx);
    expect_close(dresidual);
    expect_close(dgamma, 100);  // so do these sums
    expect_close(dbeta, 100);
  }
}

TEST_P(Norm, LargeMeanKeepsItsVariance) {
  // Mean 100 and deviation 1: the naive difference of squares would lose most digits in f32.
  if (compute() != DType::f32) GTEST_SKIP() << "16-bit inputs cannot hold such values";
  const Shape shape{4, 9, 9, 16}, channels{16};
  Twin x = normal(shape, compute(), 1);
  std::vector<double> shifted = x[0].to_doubles();
  for (double& value : shifted) value += 100;
  x = twin(shifted, shape, compute());
  Twin gamma = constant(1, channels, accumulator()), beta = constant(0, channels, accumulator()), none;
  Twin running_mean = constant(0, channels, accumulator()), running_var = constant(1, channels, accumulator());
  Twin y = output(shape, compute()), mean = output(channels, accumulator()), rstd = output(channels, accumulator());
  both([&](const Kernels& k, Context& c, int side) {
    k.norm_act_forward(c, {}, x[side], gamma[side], beta[side], none[side], running_mean[side], running_var[side],
                       y[side], mean[side], rstd[side], none[side]);
  });
  expect_close(mean);
  expect_close(rstd, 1e3);  // 100^2 times the rounding of one square remains
  expect_close(y, 1e3);
}

TEST_P(Norm, Fold) {
  for (bool depthwise : {false, true}) {
    const Shape shape = depthwise ? Shape{3, 3, 19} : Shape{19, 3, 3, 5}, channels{19};
    Twin w = normal(shape, accumulator(), 1), gamma = normal(channels, accumulator(), 2);
    Twin beta = normal(channels, accumulator(), 3), mean = normal(channels, accumulator(), 4);
    Twin var = constant(0.7, channels, accumulator());
    Twin w_out = output(shape, compute()), bias = output(channels, accumulator());
    both([&](const Kernels& k, Context& c, int side) {
      k.fold_norm(c, 1e-5f, depthwise, w[side], gamma[side], beta[side], mean[side], var[side], w_out[side],
                  bias[side]);
    });
    expect_close(w_out);
    expect_close(bias);
  }
}

}  // namespace coss::test
