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
        Case{{1, 1, 1, 5}, {3, 2, 1}}, Case{{1, 9, 9, 8}, {5, 3, 2}}, Case{{4, 21, 20, 72}, {}}}) {
    SCOPED_TRACE(test.x.str());
    const Shape out{test.x[0], test.p.out_size(test.x[1]), test.p.out_size(test.x[2]), test.x[3]};
    // Few different values, all negative: many ties, and zero padding would win if it took part.
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

TEST_P(Pooling, MeanOfPositions) {
  for (Shape shape : {Shape{2, 7, 7, 64}, Shape{3, 1, 1, 5}, Shape{1, 4, 6, 13}, Shape{2, 8, 8, 2050}}) {
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
  for (const Case& test : {Case{{2, 8, 8, 16}, 2, 8, 32}, Case{{1, 7, 5, 5}, 2, 3, 11}, Case{{2, 4, 4, 6}, 1, 0, 9}}) {
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
