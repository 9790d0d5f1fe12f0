// Patches, joining of tokens and their mean against the reference.
#include "tests/engine/kernel_test.h"

namespace coss::test {

COSS_KERNEL_SUITE(Tokens);

TEST_P(Tokens, Patches) {
  struct Case {
    Shape image;
    int64_t size;
  };
  for (const Case& test : {Case{{2, 32, 48, 3}, 16}, Case{{1, 6, 4, 5}, 2}, Case{{3, 5, 10, 1}, 5},
                           Case{{2, 3, 3, 7}, 1}, Case{{1, 64, 64, 3}, 32}, Case{{2, 14, 14, 8}, 7}}) {
    SCOPED_TRACE(test.image.str());
    const Shape& s = test.image;
    const Shape tokens{s[0], s[1] / test.size * (s[2] / test.size), test.size * test.size * s[3]};
    Twin x = normal(s, compute(), 1), y = output(tokens, compute()), dx = output(s, compute());
    both([&](const Kernels& k, Context& c, int side) {
      k.patches_forward(c, test.size, x[side], y[side]);
      k.patches_backward(c, test.size, y[side], dx[side]);
    });
    expect_equal(y);
    EXPECT_EQ(dx[0].to_doubles(), x[0].to_doubles());
  }
}

TEST_P(Tokens, Join) {
  enum class First { none, shared, own };
  for (const Shape& shape : {Shape{2, 4, 64}, Shape{3, 1, 5}, Shape{5, 9, 130}, Shape{1, 49, 24}, Shape{7, 3, 1}}) {
    for (First kind : {First::none, First::shared, First::own}) {
      SCOPED_TRACE(testing::Message() << shape.str() << " first token " << int(kind));
      const int64_t tokens = shape[1] + (kind == First::none ? 0 : 1), width = shape[2];
      const Shape joined{shape[0], tokens, width}, table{tokens, width}, own{shape[0], width};
      const bool shared = kind == First::shared;
      Twin first, dfirst, none;
      if (shared) first = normal({width}, accumulator(), 1), dfirst = normal({width}, accumulator(), 2);
      if (kind == First::own) first = normal(own, compute(), 1), dfirst = output(own, compute());
      Twin x = normal(shape, compute(), 3), position = normal(table, accumulator(), 4), y = output(joined, compute());
      both([&](const Kernels& k, Context& c, int side) {
        k.join_tokens_forward(c, first[side], x[side], position[side], y[side]);
      });
      expect_close(y);

      Twin dy = normal(joined, compute(), 5), dx = output(shape, compute()),
           dposition = normal(table, accumulator(), 6);
      both([&](const Kernels& k, Context& c, int side) {
        k.join_tokens_backward(c, dy[side], dfirst[side], dx[side], dposition[side]);
      });
      expect_equal(dx);
      expect_close(dposition);
      if (shared) expect_close(dfirst);
      if (kind == First::own) expect_equal(dfirst);

      // The gradient of the first token may be left out.
      Twin again = output(shape, compute());
      both([&](const Kernels& k, Context& c, int side) {
        k.join_tokens_backward(c, dy[side], none[side], again[side], dposition[side]);
      });
      expect_equal(again);
    }
  }
}

TEST_P(Tokens, Mean) {
  struct Case {
    Shape shape;
    int64_t first, count;
  };
  for (const Case& test : {Case{{2, 5, 64}, 0, 1}, Case{{3, 50, 130}, 1, 49}, Case{{4, 7, 5}, 2, 3},
                           Case{{1, 197, 24}, 0, 197}, Case{{5, 2, 1}, 1, 1}}) {
    SCOPED_TRACE(test.shape.str());
    const Shape pooled{test.shape[0], test.shape[2]};
    Twin x = normal(test.shape, compute(), 1), y = output(pooled, compute());
    Twin dy = normal(pooled, compute(), 2), dx = output(test.shape, compute());
    both([&](const Kernels& k, Context& c, int side) {
      k.mean_tokens_forward(c, test.first, test.count, x[side], y[side]);
      k.mean_tokens_backward(c, test.first, test.count, dy[side], dx[side]);
    });
    expect_close(y);
    expect_close(dx);
  }
}

}  // namespace coss::test
