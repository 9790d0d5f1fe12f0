// The kernels of transformers on tensors that are not aligned, as views of flat buffers may be, and on shapes that use
// their other paths: many images, and the most columns that one warp holds.
#include "tests/engine/kernel_test.h"

namespace coss::test {

COSS_KERNEL_SUITE(TransformerViews);

// The same values, one element further in memory; the reference is unchanged.
Twin shifted(const Twin& x) {
  const Tensor &source = x.sides[0], wide = convert(source, DType::f64, Device::reference);
  std::vector<double> values = wide.to_doubles();
  values.insert(values.begin(), 1000);
  const Shape all{int64_t(values.size())};
  return {{make_tensor(values, all, source.dtype(), source.device()).view(1, source.shape()), x.sides[1]}};
}

TEST_P(TransformerViews, LayerNorm) {
  for (const auto& [shape, all] : {std::pair(Shape{37, 64}, false), std::pair(Shape{5, 128}, true),  //
                                   std::pair(Shape{70, 1024}, false), std::pair(Shape{3, 1000}, false)}) {
    SCOPED_TRACE(testing::Message() << shape.str() << (all ? ", all shifted" : ", parameters shifted"));
    const Shape width{shape.back()}, rows{shape.rows()};
    const auto moved = [all = all](const Twin& x) { return all ? shifted(x) : x; };
    Twin x = moved(normal(shape, compute(), 1)), dy = moved(normal(shape, compute(), 2));
    Twin y = moved(output(shape, compute())), dx = moved(output(shape, compute()));
    Twin gamma = shifted(normal(width, accumulator(), 3)), beta = shifted(normal(width, accumulator(), 4));
    Twin dgamma = shifted(normal(width, accumulator(), 5)), dbeta = shifted(normal(width, accumulator(), 6));
    Twin mean = output(rows, accumulator()), rstd = output(rows, accumulator());
    both([&](const Kernels& k, Context& c, int side) {
      k.layer_norm_forward(c, 1e-6f, x[side], gamma[side], beta[side], y[side], mean[side], rstd[side]);
      k.layer_norm_backward(c, x[side], gamma[side], mean[side], rstd[side], dy[side], dx[side], dgamma[side],
                            dbeta[side]);
    });
    expect_close(y);
    expect_close(dx, 4);  // two sums are subtracted
    expect_close(dgamma);
    expect_close(dbeta);
  }
}

TEST_P(TransformerViews, Attention) {
  const Shape all{2, 9, 3 * 64}, asked{2, 9, 64};
  const AttentionParams p{.heads = 2};
  Twin qkv = shifted(normal(all, compute(), 1)), y = shifted(output(asked, compute()));
  Twin lse = shifted(output({2, 2, 9}, accumulator()));
  both([&](const Kernels& k, Context& c, int side) { k.attention_forward(c, p, qkv[side], y[side], lse[side]); });
  expect_close(y);
  y[1] = convert(y[0], DType::f64, Device::reference);
  lse[1] = convert(lse[0], DType::f64, Device::reference);
  Twin dy = shifted(normal(asked, compute(), 2)), dqkv = shifted(output(all, compute()));
  both([&](const Kernels& k, Context& c, int side) {
    k.attention_backward(c, p, qkv[side], y[side], lse[side], dy[side], dqkv[side]);
  });
  expect_close(dqkv);
}

TEST_P(TransformerViews, TokensOfManyImages) {
  for (bool all : {false, true}) {
    SCOPED_TRACE(all ? "all shifted" : "parameters shifted");
    const auto moved = [all](const Twin& x) { return all ? shifted(x) : x; };
    const int64_t images = 75, tokens = 5, width = 16;
    const Shape shape{images, tokens, width}, joined{images, tokens + 1, width}, table{tokens + 1, width};
    Twin first = shifted(normal({width}, accumulator(), 1)), position = shifted(normal(table, accumulator(), 2));
    Twin dfirst = shifted(normal({width}, accumulator(), 3)), dposition = shifted(normal(table, accumulator(), 4));
    Twin x = moved(normal(shape, compute(), 5)), y = moved(output(joined, compute()));
    Twin dy = moved(normal(joined, compute(), 6)), dx = moved(output(shape, compute()));
    Twin mean = moved(output({images, width}, compute())), back = moved(output(shape, compute()));
    Twin slope = moved(normal({images, width}, compute(), 7));
    both([&](const Kernels& k, Context& c, int side) {
      k.join_tokens_forward(c, first[side], x[side], position[side], y[side]);
      k.join_tokens_backward(c, dy[side], dfirst[side], dx[side], dposition[side]);
      k.mean_tokens_forward(c, 1, 3, x[side], mean[side]);
      k.mean_tokens_backward(c, 1, 3, slope[side], back[side]);
    });
    expect_close(y);
    expect_close(dfirst);
    expect_close(dposition);
    expect_equal(dx);
    expect_close(mean);
    expect_close(back);
  }
}

TEST_P(TransformerViews, Patches) {
  const Shape image{3, 8, 12, 4}, tokens{3, 6, 64};
  Twin x = shifted(normal(image, compute(), 1)), y = shifted(output(tokens, compute()));
  Twin dx = shifted(output(image, compute()));
  both([&](const Kernels& k, Context& c, int side) {
    k.patches_forward(c, 4, x[side], y[side]);
    k.patches_backward(c, 4, y[side], dx[side]);
  });
  expect_equal(y);
  expect_equal(dx);
}

}  // namespace coss::test
