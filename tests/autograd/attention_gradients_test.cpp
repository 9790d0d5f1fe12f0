// The gradients of the operations of transformers against central differences, in double on the reference backend.
#include <gtest/gtest.h>

#include "autograd/ops.h"
#include "tests/support/gradient_check.h"
#include "tests/support/support.h"

namespace coss::test {

namespace {

constexpr double kBound = 1e-9;

Tensor normal(Shape shape, uint64_t seed, double stddev = 1) {
  return random_tensor(shape, DType::f64, Device::reference, seed, stddev);
}

}  // namespace

TEST(AttentionGradients, LayerNorm) {
  EXPECT_LT(gradient_error([](const auto& v) { return layer_norm(1e-5f, v[0], v[1], v[2]); },
                           {normal({2, 3, 5}, 1), normal({5}, 2), normal({5}, 3)}),
            kBound);
}

TEST(AttentionGradients, Attention) {
  for (const AttentionParams& p :
       {AttentionParams{}, AttentionParams{2, 0}, AttentionParams{3, 1}, AttentionParams{2, 3}}) {
    EXPECT_LT(gradient_error([&](const auto& v) { return attention(p, v[0]); }, {normal({2, 4, 18}, 1)}), kBound)
        << p.heads << " heads, " << p.queries << " queries";
  }
}

TEST(AttentionGradients, LinearOfTokens) {
  EXPECT_LT(gradient_error([](const auto& v) { return linear(v[0], v[1], v[2]); },
                           {normal({2, 3, 4}, 1), normal({5, 4}, 2), normal({5}, 3)}),
            kBound);
}

TEST(AttentionGradients, NormalizeRows) {
  const Tensor x = normal({4, 3}, 1);
  EXPECT_LT(gradient_error([](const auto& v) { return normalize_rows(1e-12f, v[0]); }, {x}), kBound);
  // All rows are shorter than this: a division by a constant.
  EXPECT_LT(gradient_error([](const auto& v) { return normalize_rows(100, v[0]); }, {x}), kBound);
}

TEST(AttentionGradients, Patches) {
  EXPECT_LT(gradient_error([](const auto& v) { return patches(2, v[0]); }, {normal({2, 4, 6, 3}, 1)}), kBound);
}

TEST(AttentionGradients, JoinTokens) {
  const Tensor x = normal({2, 3, 5}, 1), position = normal({4, 5}, 2);
  for (Shape first : {Shape{5}, Shape{2, 5}}) {
    EXPECT_LT(
        gradient_error([](const auto& v) { return join_tokens(v[0], v[1], v[2]); }, {normal(first, 3), x, position}),
        kBound)
        << first.str();
  }
  EXPECT_LT(gradient_error([](const auto& v) { return join_tokens(Var(), v[0], v[1]); }, {x, normal({3, 5}, 2)}),
            kBound);
}

TEST(AttentionGradients, MeanTokens) {
  EXPECT_LT(gradient_error([](const auto& v) { return mean_tokens(1, 2, v[0]); }, {normal({2, 4, 3}, 1)}), kBound);
}

// One block of a vision transformer, where several operations may write to a gradient buffer in place.
TEST(AttentionGradients, TransformerBlock) {
  auto block = [](const std::vector<Var>& v) {
    const Var x = join_tokens(v[0], linear(patches(2, v[1]), v[2], Var()), v[3]);
    const Var attended = attention({.heads = 2}, linear(layer_norm(1e-5f, x, v[4], v[5]), v[6], Var()));
    const Var y = add(x, attended);
    return mean_tokens(0, 5, add(y, layer_norm(1e-5f, y, v[4], v[5])));
  };
  EXPECT_LT(gradient_error(block, {normal({4}, 1), normal({2, 4, 4, 1}, 2), normal({4, 4}, 3), normal({5, 4}, 4),
                                   normal({4}, 5), normal({4}, 6), normal({12, 4}, 7)}),
            kBound);
}

TEST(AttentionGradients, WrongShapesAreSaidInWords) {
  const Var x(normal({2, 4, 18}, 1));
  EXPECT_THROW(attention({.heads = 4}, x), Error);
  EXPECT_THROW(attention({.heads = 3, .queries = 5}, x), Error);
  EXPECT_THROW(layer_norm(1e-5f, x, Var(normal({17}, 1)), Var(normal({18}, 2))), Error);
  EXPECT_THROW(patches(3, Var(normal({1, 4, 6, 3}, 1))), Error);
  EXPECT_THROW(join_tokens(Var(normal({17}, 1)), x, Var(normal({5, 18}, 2))), Error);
  EXPECT_THROW(join_tokens(Var(), x, Var(normal({5, 18}, 2))), Error);
  EXPECT_THROW(mean_tokens(3, 2, x), Error);
}

}  // namespace coss::test
