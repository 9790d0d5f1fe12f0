// Multi-head attention against the reference.
#include "tests/engine/kernel_test.h"

namespace coss::test {

namespace {
struct AttentionCase {
  int64_t images, tokens, heads, channels, queries;
};
constexpr AttentionCase kCases[] = {{2, 5, 3, 4, 0},    {1, 1, 1, 7, 0},     {3, 50, 2, 64, 0}, {1, 197, 3, 64, 0},
                                    {2, 17, 4, 32, 0},  {1, 65, 2, 80, 0},   {2, 50, 2, 64, 1}, {1, 33, 2, 24, 9},
                                    {1, 300, 1, 16, 0}, {1, 530, 2, 32, 31}, {1, 256, 1, 64, 0}};
}  // namespace

COSS_KERNEL_SUITE(Attention);

TEST_P(Attention, ForwardAndBackward) {
  for (const AttentionCase& test : kCases) {
    SCOPED_TRACE(testing::Message() << test.tokens << " tokens, " << test.heads << " heads of " << test.channels
                                    << ", queries " << test.queries);
    const int64_t width = test.heads * test.channels, queries = test.queries ? test.queries : test.tokens;
    const AttentionParams p{.heads = test.heads, .queries = test.queries};
    const Shape all{test.images, test.tokens, 3 * width}, asked{test.images, queries, width};
    Twin qkv = normal(all, compute(), 1, 1.5), y = output(asked, compute());
    Twin lse = output({test.images, test.heads, queries}, accumulator());
    both([&](const Kernels& k, Context& c, int side) { k.attention_forward(c, p, qkv[side], y[side], lse[side]); });
    // A GPU library's fused kernels round the probabilities, too.
    const double looser = backend_.device == Device::cuda && compute() != DType::f32 ? 4 : 1;
    expect_close(y, looser);
    expect_close(lse);

    // Both backends get the same output: its rounding to 16 bits changes the sum that backward subtracts.
    y[1] = convert(y[0], DType::f64, Device::reference);
    lse[1] = convert(lse[0], DType::f64, Device::reference);
    Twin dy = normal(asked, compute(), 2), dqkv = output(all, compute());
    both([&](const Kernels& k, Context& c, int side) {
      k.attention_backward(c, p, qkv[side], y[side], lse[side], dy[side], dqkv[side]);
    });
    expect_close(dqkv, looser);
  }
}

TEST_P(Attention, GreatScoresDoNotOverflow) {
  const Shape all{1, 20, 3 * 32}, asked{1, 20, 32};
  Twin qkv = normal(all, compute(), 1, 30), y = output(asked, compute()), lse = output({1, 2, 20}, accumulator());
  both([&](const Kernels& k, Context& c, int side) {
    k.attention_forward(c, {.heads = 2}, qkv[side], y[side], lse[side]);
  });
  expect_close(lse);
  expect_close(y, 1000);  // scores of thousands: their rounding is a relative error of each probability
}

TEST_P(Attention, ANaNStaysVisible) {
  const Shape all{2, 6, 3 * 16}, asked{2, 6, 16};
  std::vector<double> values = normal(all, compute(), 1)[0].to_doubles();
  values[16] = std::numeric_limits<double>::quiet_NaN();  // the first key of the first image
  Twin qkv = twin(values, all, compute()), y = output(asked, compute()), lse = output({2, 1, 6}, accumulator());
  kernels(qkv[0]).attention_forward(context(backend_.device), {}, qkv[0], y[0], lse[0]);
  const std::vector<double> got = y[0].to_doubles();
  for (size_t i = 0; i < got.size(); ++i) EXPECT_EQ(std::isnan(got[i]), i < got.size() / 2) << i;
}

}  // namespace coss::test
