// Pooling and the option-A shortcut against the reference.
#include "tests/engine/kernel_test.h"

namespace coss::test {

COSS_KERNEL_SUITE(Pooling);

TEST_P(Pooling, MaxPool) {
  struct Case {
    Shape x;
    PoolParams p;
  };
  for (const Case& test :
       {Case{{2, 8, 8, 64}, {}}, Case{{1, 7, 9, 13}, {}}, Case{{2, 6, 6, 32}, {2, 2, 0}}, Case{{1, 5, 5, 3}, {3, 1, 1}},
        Case{{1, 1, 1, 5}, {3, 2, 1}}, Case{{1, 9, 9, 8}, {5, 3, 2}}, Case{{4, 21, 20, 72}, {}},
        Case{{3, 13, 11, 24}, {}}, Case{{2, 9, 10, 16}, {3, 2, 0}}, Case{{1, 7, 8, 328}, {3, 3, 1}},
        Case{{2, 5, 7, 11}, {2, 2, 1}}, Case{{1, 15, 14, 40}, {7, 3, 3}}, Case{{2, 4, 5, 16}, {1, 2, 0}},
        Case{{4, 66, 35, 136}, {}}, Case{{2, 6, 8, 24}, {3, 2, 0, true}}, Case{{1, 12, 7, 5}, {3, 2, 0, true}}}) {
    SCOPED_TRACE(test.x.str());
    const Shape out{test.x[0], test.p.out_size(test.x[1]), test.p.out_size(test.x[2]), test.x[3]};
    // Few different values give many ties; all are negative, so zero padding would win if it were counted.
    std::vector<double> values = random_tensor(test.x, DType::f64, Device::reference, 1).to_doubles();
    for (double& value : values) value = -1 - std::floor(std::abs(value) * 2) / 4;
    Twin x = twin(values, test.x, compute()), y = output(out, compute()), index = output(out, DType::u8);
    Twin dy = normal(out, compute(), 2), dx = output(test.x, compute());
    both([&](const Kernels& k, Context& c, int side) {
      k.max_pool_forward(c, test.p, x[side], y[side], index[side]);
      k.max_pool_backward(c, test.p, dy[side], index[side], dx[side]);
    });
    expect_equal(y);
    expect_equal(index);
    expect_close(dx);
  }
}

// A NaN wins over earlier values, so the last of several NaN wins. Of only -inf the first is the maximum.
TEST_P(Pooling, MaxPoolOfNanAndInfinity) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN(), kInfinity = std::numeric_limits<double>::infinity();
  for (const int64_t channels : {16, 3}) {
    for (const PoolParams& p : {PoolParams{}, PoolParams{2, 1, 1}}) {
      const Shape shape{1, 6, 7, channels}, out{1, p.out_size(6), p.out_size(7), channels};
      std::vector<double> values = random_tensor(shape, DType::f64, Device::reference, 1).to_doubles();
      for (int64_t i = 0; i < shape.numel(); ++i) {
        double& value = values[size_t(i)];
        value = i % channels == 0 ? -kInfinity : value > 1 ? kNan : value < -1 ? kInfinity : std::floor(value * 4);
      }
      Tensor x = make_tensor(values, shape, compute(), backend_.device), y(out, compute(), backend_.device),
             index(out, DType::u8, backend_.device);
      kernels(x.device()).max_pool_forward(context(x.device()), p, x, y, index);
      const std::vector<double> best = y.to_doubles(), where = index.to_doubles();
      for (int64_t i = 0; i < out.numel(); ++i) {
        const int64_t c = i % channels, w = i / channels % out[2] * p.stride - p.pad,
                      h = i / channels / out[2] * p.stride - p.pad;
        double expected = -kInfinity;
        int64_t at = -1;
        for (int64_t tap = 0; tap < p.window * p.window; ++tap) {
          const int64_t row = h + tap / p.window, column = w + tap % p.window;
          if (row < 0 || row >= shape[1] || column < 0 || column >= shape[2]) continue;
          const double value = values[size_t((row * shape[2] + column) * channels + c)];
          if (at >= 0 && !(value > expected) && !std::isnan(value)) continue;
          expected = value;
          at = tap;
        }
        EXPECT_EQ(where[size_t(i)], double(at)) << i;
        if (std::isnan(expected))
          EXPECT_TRUE(std::isnan(best[size_t(i)])) << i;
        else
          EXPECT_EQ(best[size_t(i)], expected) << i;
      }
    }
  }
}

TEST_P(Pooling, AvgPool) {
  struct Case {
    Shape x;
    PoolParams p;
  };
  for (const Case& test :
       {Case{{2, 8, 8, 64}, {2, 2, 0}}, Case{{1, 7, 9, 13}, {2, 2, 0}}, Case{{2, 7, 6, 24}, {3, 2, 1}},
        Case{{1, 5, 5, 3}, {3, 1, 1}}, Case{{3, 8, 8, 72}, {8, 8, 0}}, Case{{2, 9, 10, 16}, {4, 4, 0}},
        Case{{1, 6, 7, 11}, {1, 2, 0}}, Case{{2, 7, 7, 8}, {2, 3, 1}}, Case{{4, 21, 20, 136}, {3, 2, 1}},
        Case{{1, 1, 1, 5}, {2, 2, 1}}}) {
    SCOPED_TRACE(test.x.str());
    const Shape out{test.x[0], test.p.out_size(test.x[1]), test.p.out_size(test.x[2]), test.x[3]};
    Twin x = normal(test.x, compute(), 1), y = output(out, compute());
    Twin dy = normal(out, compute(), 2), dx = output(test.x, compute());
    both([&](const Kernels& k, Context& c, int side) {
      k.avg_pool_forward(c, test.p, x[side], y[side]);
      k.avg_pool_backward(c, test.p, dy[side], dx[side]);
    });
    expect_close(y);
    expect_close(dx);
  }
}

// Views that begin between the boundaries of vectors.
TEST_P(Pooling, ViewsBeginAnywhere) {
  const Shape shape{8, 7, 6, 16}, out{8, 4, 3, 16}, wide{8, 4, 3, 32};
  for (const int shifted : {0, 1}) {
    auto view_of = [&](Twin flat, int number, Shape of) {
      const int64_t offset = number == shifted ? 1 : 0;
      return Twin{{flat[0].view(offset, of), flat[1].view(offset, of)}};
    };
    auto given = [&](int number, Shape of) { return view_of(normal({of.numel() + 1}, compute(), 1), number, of); };
    auto wanted = [&](int number, Shape of) { return view_of(output({of.numel() + 1}, compute()), number, of); };
    Twin x = given(0, shape), y = wanted(1, out), index = view_of(output({out.numel() + 1}, DType::u8), 1, out);
    Twin dy = given(1, out), dx = wanted(0, shape);
    Twin mean = wanted(1, {8, 16}), dmean = given(1, {8, 16}), dx_mean = wanted(0, shape);
    Twin shortcut = wanted(1, wide), dshortcut = given(1, wide), dx_shortcut = wanted(0, shape);
    both([&](const Kernels& k, Context& c, int side) {
      k.max_pool_forward(c, {}, x[side], y[side], index[side]);
      k.max_pool_backward(c, {}, dy[side], index[side], dx[side]);
      k.mean_hw_forward(c, x[side], mean[side]);
      k.mean_hw_backward(c, dmean[side], dx_mean[side]);
      k.shortcut_a_forward(c, 2, 8, x[side], shortcut[side]);
      k.shortcut_a_backward(c, 2, 8, dshortcut[side], dx_shortcut[side]);
    });
    expect_equal(y);
    expect_equal(index);
    expect_close(dx);
    expect_close(mean);
    expect_close(dx_mean);
    expect_equal(shortcut);
    expect_equal(dx_shortcut);
  }
}

TEST_P(Pooling, MeanOfPositions) {
  for (Shape shape : {Shape{2, 7, 7, 64}, Shape{3, 1, 1, 5}, Shape{1, 4, 6, 13}, Shape{2, 8, 8, 2050},
                      Shape{3, 5, 3, 520}, Shape{8, 17, 19, 8}, Shape{40, 19, 17, 1}}) {
    Twin x = normal(shape, compute(), 1), y = output({shape[0], shape[3]}, compute());
    Twin dy = normal({shape[0], shape[3]}, compute(), 2), dx = output(shape, compute());
    both([&](const Kernels& k, Context& c, int side) {
      k.mean_hw_forward(c, x[side], y[side]);
      k.mean_hw_backward(c, dy[side], dx[side]);
    });
    expect_close(y);
    expect_close(dx);
  }
}

TEST_P(Pooling, ShortcutA) {
  struct Case {
    Shape x;
    int64_t stride, before, channels;
  };
  for (const Case& test :
       {Case{{2, 8, 8, 16}, 2, 8, 32}, Case{{1, 7, 5, 5}, 2, 3, 11}, Case{{2, 4, 4, 6}, 1, 0, 9},
        Case{{2, 9, 7, 264}, 2, 132, 528}, Case{{4, 33, 30, 72}, 2, 8, 88}, Case{{1, 7, 8, 16}, 3, 16, 48}}) {
    const Shape out{test.x[0], (test.x[1] + test.stride - 1) / test.stride, (test.x[2] + test.stride - 1) / test.stride,
                    test.channels};
    Twin x = normal(test.x, compute(), 1), y = output(out, compute());
    Twin dy = normal(out, compute(), 2), dx = output(test.x, compute());
    both([&](const Kernels& k, Context& c, int side) {
      k.shortcut_a_forward(c, test.stride, test.before, x[side], y[side]);
      k.shortcut_a_backward(c, test.stride, test.before, dy[side], dx[side]);
    });
    expect_equal(y);
    expect_equal(dx);
  }
}

}  // namespace coss::test
