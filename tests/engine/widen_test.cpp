// bf16 convolutions and products so large that, on a processor without bf16 instructions, they are computed in several
// blocks; elsewhere the library computes them. In both cases the result is that of fp32 with the same values, rounded
// once.
#include "engine/cpu/library/widen.h"

#include "engine/cpu/library/onednn.h"
#include "tests/engine/kernel_test.h"

namespace coss::test {
namespace {

Context& processor() { return context(Device::cpu); }

Tensor drawn(Shape shape, DType dtype, uint64_t seed) {
  Tensor noise(shape, DType::f32, Device::cpu), y(shape, dtype, Device::cpu);
  cpu::random_normal(processor(), seed, 0, 0, 1, noise);
  cpu::cast(processor(), noise, y);
  return y;
}
Tensor cast_to(DType dtype, const Tensor& x) {
  Tensor y(x.shape(), dtype, Device::cpu);
  cpu::cast(processor(), x, y);
  return y;
}
Tensor memory(Shape shape, DType dtype) { return Tensor(shape, dtype, Device::cpu); }

// 3 * 2^20 values per image give two blocks on one or two threads.
struct WideConv : testing::Test {
  const int64_t images = 3;
  const ConvParams p{.stride = 2, .pad = 1};
  const Shape in{images, 192, 192, 64}, window{8, 3, 3, 64}, out{images, 96, 96, 8};
  Tensor x = drawn(in, DType::bf16, 1), w = drawn(window, DType::bf16, 2), dy = drawn(out, DType::bf16, 3);
  Tensor wide_x = cast_to(DType::f32, x), wide_w = cast_to(DType::f32, w), wide_dy = cast_to(DType::f32, dy);

  void SetUp() override {
    const int64_t block = cpu::rows_per_block(images, (in.numel() + out.numel()) / images);
    if (threads() < images) {
      EXPECT_LT(block, images) << "one block would test nothing";
    }
  }
};

TEST_F(WideConv, Forward) {
  Tensor y = memory(out, DType::bf16), wide = memory(out, DType::f32);
  cpu::conv2d_forward(processor(), p, x, w, y);
  cpu::conv2d_forward(processor(), p, wide_x, wide_w, wide);
  EXPECT_LT(normalized_error(y, wide), bound(DType::bf16));
}

TEST_F(WideConv, BiasResidualActivation) {
  const Tensor bias = drawn({8}, DType::f32, 4), residual = drawn(out, DType::bf16, 5);
  const Tensor wide_residual = cast_to(DType::f32, residual);
  for (const bool with : {false, true}) {
    Tensor y = memory(out, DType::bf16), wide = memory(out, DType::f32);
    cpu::conv2d_bias_act(processor(), p, Activation::relu, x, w, bias, with ? residual : Tensor(), y);
    cpu::conv2d_bias_act(processor(), p, Activation::relu, wide_x, wide_w, bias, with ? wide_residual : Tensor(), wide);
    EXPECT_LT(normalized_error(y, wide), bound(DType::bf16));
  }
}

TEST_F(WideConv, Gradients) {
  Tensor dx = memory(in, DType::bf16), wide_dx = memory(in, DType::f32);
  cpu::conv2d_dgrad(processor(), p, w, dy, dx);
  cpu::conv2d_dgrad(processor(), p, wide_w, wide_dy, wide_dx);
  EXPECT_LT(normalized_error(dx, wide_dx), bound(DType::bf16));
  for (const float beta : {0.0f, 1.0f}) {
    Tensor dw = drawn(window, DType::f32, 6), wide_dw = drawn(window, DType::f32, 6);
    cpu::conv2d_wgrad(processor(), p, x, dy, beta, dw);
    cpu::conv2d_wgrad(processor(), p, wide_x, wide_dy, beta, wide_dw);
    EXPECT_LT(normalized_error(dw, wide_dw), 1e-9);  // sums of 27,648 products in another order
  }
}

// 2^13 values per row give several blocks, of y's rows or of the rows that are summed.
TEST(WideMatmul, EveryTransposeTypeAndBeta) {
  const int64_t rows = 1500, depth = 4096, columns = 24;
  for (const bool transpose_a : {false, true})
    for (const bool transpose_b : {false, true})
      for (const DType dtype : {DType::f32, DType::bf16})
        for (const float beta : {0.0f, 1.0f}) {
          const int64_t m = transpose_a ? columns : rows, k = transpose_a ? rows : depth;
          const int64_t n = transpose_a ? depth : columns;
          const MatmulParams p{.transpose_a = transpose_a, .transpose_b = transpose_b, .beta = beta};
          const Tensor a = drawn(transpose_a ? Shape{k, m} : Shape{m, k}, DType::bf16, 1);
          const Tensor b = drawn(transpose_b ? Shape{n, k} : Shape{k, n}, DType::bf16, 2);
          const Tensor bias = drawn({n}, DType::f32, 3), before = drawn({m, n}, dtype, 4);
          Tensor y = cast_to(dtype, before), wide = cast_to(DType::f32, before);
          cpu::matmul(processor(), p, a, b, bias, y);
          cpu::matmul(processor(), p, cast_to(DType::f32, a), cast_to(DType::f32, b), bias, wide);
          EXPECT_LT(normalized_error(y, wide), dtype == DType::f32 ? 1e-9 : bound(dtype))
              << transpose_a << transpose_b << " beta " << beta;
        }
}

TEST(WideMatmul, AnActivationIsAppliedOnce) {
  const Tensor a = drawn({3000, 16}, DType::bf16, 1), b = drawn({3000, 1500}, DType::bf16, 2);
  const MatmulParams p{.transpose_a = true, .activation = Activation::relu};
  Tensor y = memory({16, 1500}, DType::bf16), wide = memory({16, 1500}, DType::f32);
  cpu::matmul(processor(), p, a, b, {}, y);
  cpu::matmul(processor(), p, cast_to(DType::f32, a), cast_to(DType::f32, b), {}, wide);
  EXPECT_LT(normalized_error(y, wide), bound(DType::bf16));
}

TEST(WideWeights, FollowTheVersion) {
  cpu::WeightCache& cache = processor().state<cpu::State>().weights;
  Tensor w = drawn({7, 5}, DType::bf16, 1);
  const int64_t before = cache.reorders();
  EXPECT_EQ(cache.widened(processor(), w).to_doubles(), w.to_doubles());
  cache.widened(processor(), w);
  EXPECT_EQ(cache.reorders(), before + 1);
  cpu::fill(processor(), 3, w);
  EXPECT_EQ(cache.widened(processor(), w).to_doubles(), std::vector<double>(35, 3));
  // A smaller tensor at the same address is another tensor.
  EXPECT_EQ(cache.widened(processor(), w.view(0, {3})).numel(), 3);
}

TEST(Plans, AreMadeOnTheDryDevice) {
  const Tensor x({2, 9, 9, 8}, DType::bf16, Device::dry), w({16, 3, 3, 8}, DType::bf16, Device::dry);
  Tensor y({2, 9, 9, 16}, DType::bf16, Device::dry);
  cpu::State& state = processor().state<cpu::State>();
  const size_t before = state.plans();
  const auto run = [&] { kernels(Device::dry).conv2d_forward(context(Device::dry), {.pad = 1}, x, w, y); };
  run();
  EXPECT_EQ(state.plans(), before);
  {
    const PlanScope plans;
    run();
    EXPECT_GT(state.plans(), before);
    Tensor half({2, 9, 9, 8}, DType::f16, Device::dry);
    EXPECT_THROW(kernels(Device::dry).conv2d_forward(context(Device::dry), {.pad = 1}, half, w, y), Error);
  }
  EXPECT_FALSE(processor().plans_only());
}

}  // namespace
}  // namespace coss::test
