// Weighting of channels and copies of columns against the reference.
#include "tests/engine/kernel_test.h"

namespace coss::test {

COSS_KERNEL_SUITE(Channels);

TEST_P(Channels, Scale) {
  for (const Shape& shape : {Shape{2, 7, 7, 64}, Shape{3, 5, 4, 13}, Shape{9, 1, 1, 37}, Shape{2, 28, 27, 24},
                             Shape{4, 9, 3, 520}, Shape{40, 2, 3, 1}, Shape{2, 56, 55, 72}, Shape{5, 1, 1, 40}}) {
    SCOPED_TRACE(shape.str());
    const Shape factors{shape[0], shape[3]};
    Twin x = normal(shape, compute(), 1), s = normal(factors, compute(), 2), y = output(shape, compute());
    Twin dy = normal(shape, compute(), 3), dx = output(shape, compute()), ds = output(factors, compute());
    both([&](const Kernels& k, Context& c, int side) {
      k.scale_channels_forward(c, x[side], s[side], y[side]);
      k.scale_channels_backward(c, x[side], s[side], dy[side], dx[side], ds[side]);
    });
    expect_close(y);
    expect_close(dx);
    expect_close(ds);
  }
}

TEST_P(Channels, ScaleOfViewsThatBeginAnywhere) {
  const Shape shape{3, 6, 5, 16}, factors{3, 16};
  for (const int shifted : {0, 1, 2}) {
    auto view_of = [&](Twin flat, int number, Shape of) {
      const int64_t offset = number == shifted ? 1 : 0;
      return Twin{{flat[0].view(offset, of), flat[1].view(offset, of)}};
    };
    Twin x = view_of(normal({shape.numel() + 1}, compute(), 1), 0, shape);
    Twin s = view_of(normal({factors.numel() + 1}, compute(), 2), 1, factors);
    Twin dy = view_of(normal({shape.numel() + 1}, compute(), 3), 2, shape);
    Twin y = view_of(output({shape.numel() + 1}, compute()), 2, shape);
    Twin dx = view_of(output({shape.numel() + 1}, compute()), 0, shape);
    Twin ds = view_of(output({factors.numel() + 1}, compute()), 1, factors);
    both([&](const Kernels& k, Context& c, int side) {
      k.scale_channels_forward(c, x[side], s[side], y[side]);
      k.scale_channels_backward(c, x[side], s[side], dy[side], dx[side], ds[side]);
    });
    expect_close(y);
    expect_close(dx);
    expect_close(ds);
  }
}

// Columns that are not copied stay as they were.
TEST_P(Channels, CopyColumns) {
  struct Case {
    int64_t rows, from_width, to_width;
    ColumnMap map;
  };
  for (const Case& test : {
           Case{98, 64, 64, {.count = 64}},
           Case{98, 64, 32, {.from = 32, .count = 32}},
           Case{50, 58, 116, {.to = 58, .count = 58}},
           Case{33, 13, 20, {.from = 3, .to = 5, .count = 7}},
           Case{2000, 24, 48, {.to = 1, .to_stride = 2, .count = 24}},
           Case{77, 60, 60, {.from = 40, .to = 2, .to_stride = 3, .count = 20}},
           Case{77, 60, 60, {.from = 2, .from_stride = 3, .to = 40, .count = 20}},
           Case{5, 30, 40, {.from = 1, .from_stride = 4, .to = 3, .to_stride = 5, .count = 7}},
           Case{1, 1, 1, {.count = 1}},
       }) {
    SCOPED_TRACE(testing::Message() << test.rows << " rows, " << test.from_width << " to " << test.to_width);
    for (const int64_t offset : {0, 1}) {
      const Shape from{test.rows, test.from_width}, to{test.rows, test.to_width};
      Twin x = normal({from.numel() + offset}, compute(), 1), y = normal({to.numel() + offset}, compute(), 2);
      both([&](const Kernels& k, Context& c, int side) {
        Tensor target = y[side].view(offset, to);
        k.copy_columns(c, test.map, x[side].view(offset, from), target);
      });
      expect_equal(y);
    }
  }
}

}  // namespace coss::test
