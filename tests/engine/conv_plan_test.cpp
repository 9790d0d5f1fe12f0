// The caches of convolution on the CPU: plans by shape, and weights in oneDNN's layouts by version.
#include <gtest/gtest.h>

#include <cmath>

#include "engine/cpu/library/onednn.h"
#include "engine/kernels.h"
#include "tests/support/support.h"

namespace coss {
namespace {

struct ConvPlan : testing::Test {
  Context& ctx = context(Device::cpu);
  cpu::State& state = ctx.state<cpu::State>();
  ConvParams p{.stride = 1, .pad = 1};
  Tensor x = test::random_tensor({2, 10, 11, 48}, DType::f32, Device::cpu, 1);
  Tensor w = test::random_tensor({48, 3, 3, 48}, DType::f32, Device::cpu, 2);
  Tensor y{{2, 10, 11, 48}, DType::f32, Device::cpu}, dx{{2, 10, 11, 48}, DType::f32, Device::cpu};
  Tensor dw{{48, 3, 3, 48}, DType::f32, Device::cpu};

  void step() {
    cpu::conv2d_forward(ctx, p, x, w, y);
    cpu::conv2d_dgrad(ctx, p, w, y, dx);
    cpu::conv2d_wgrad(ctx, p, x, y, 1, dw);
  }
};

TEST_F(ConvPlan, WarmCallsMakeAndReorderNothing) {
  step();
  const size_t plans = state.plans(), kept = state.weights.bytes();
  const int64_t reorders = state.weights.reorders(), grown = ctx.pool().grown();
  step();
  EXPECT_EQ(state.plans(), plans);
  EXPECT_EQ(state.weights.reorders(), reorders);
  EXPECT_EQ(state.weights.bytes(), kept);
  EXPECT_EQ(ctx.pool().grown(), grown);
}

TEST_F(ConvPlan, ReorderedWeightsFollowTheVersion) {
  cpu::conv2d_forward(ctx, p, x, w, y);
  const std::vector<double> before = y.to_doubles();
  const size_t kept = state.weights.bytes();
  float* values = w.mutable_data<float>();
  for (int64_t i = 0; i < w.numel(); ++i) values[i] *= 2;
  cpu::conv2d_forward(ctx, p, x, w, y);
  std::vector<double> doubled = before;
  for (double& value : doubled) value *= 2;
  EXPECT_LT(test::normalized_error(y.to_doubles(), doubled), 1e-12);
  EXPECT_EQ(state.weights.bytes(), kept) << "a new version replaces the old one";
}

TEST_F(ConvPlan, ViewsOfOneBufferAreToldApart) {
  Tensor flat = test::random_tensor({2 * w.numel()}, DType::f32, Device::cpu, 3);
  Tensor first = flat.view(0, w.shape()), second = flat.view(w.numel(), w.shape());
  cpu::conv2d_forward(ctx, p, x, first, y);
  const std::vector<double> before = y.to_doubles();
  cpu::conv2d_forward(ctx, p, x, second, y);
  EXPECT_GT(test::normalized_error(y.to_doubles(), before), 0.1);
  cpu::conv2d_forward(ctx, p, x, first, y);
  EXPECT_EQ(y.to_doubles(), before);
}

TEST_F(ConvPlan, HalfPrecisionIsRefusedInWords) {
  Tensor hx({1, 4, 4, 8}, DType::f16, Device::cpu), hw({8, 1, 1, 8}, DType::f16, Device::cpu);
  Tensor hy({1, 4, 4, 8}, DType::f16, Device::cpu);
  try {
    cpu::conv2d_forward(ctx, {}, hx, hw, hy);
    FAIL() << "f16 must be refused";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("--dtype bf16"), std::string::npos) << error.what();
  }
}

// With ties the lower index wins, in whatever order the blocks of neighbors come.
TEST(TopkInner, TiesGoToTheLowerIndexInAnyOrderOfBlocks) {
  Context& ctx = context(Device::cpu);
  const std::vector<float> ones(40 * 4, 1.0f);
  const Tensor keys = Tensor::from(ones, {40, 4}, Device::cpu);
  for (int64_t middle : {0, 16, 25}) {
    Tensor values = Tensor::from(std::vector<float>(3 * 5, -INFINITY), {3, 5}, Device::cpu);
    Tensor indices = Tensor::from(std::vector<int32_t>(3 * 5, -1), {3, 5}, Device::cpu);
    const Tensor queries = keys.view(0, {3, 4});
    cpu::topk_inner(ctx, 0, middle, queries, keys.view(middle * 4, {40 - middle, 4}), values, indices);
    if (middle > 0) cpu::topk_inner(ctx, 0, 0, queries, keys.view(0, {middle, 4}), values, indices);
    EXPECT_EQ(indices.to_vector<int32_t>(), (std::vector<int32_t>{1, 2, 3, 4, 5, 0, 2, 3, 4, 5, 0, 1, 3, 4, 5}));
    EXPECT_EQ(values.to_vector<float>(), std::vector<float>(15, 4.0f));
  }
}

TEST(TopkInner, FewerKeysThanAskedForLeavesMinusOne) {
  Context& ctx = context(Device::cpu);
  const Tensor keys = Tensor::from(std::vector<float>{3, 1, 2}, {3, 1}, Device::cpu);
  const Tensor query = Tensor::from(std::vector<float>{1}, {1, 1}, Device::cpu);
  Tensor values = Tensor::from(std::vector<float>(4, -INFINITY), {1, 4}, Device::cpu);
  Tensor indices = Tensor::from(std::vector<int32_t>(4, -1), {1, 4}, Device::cpu);
  cpu::topk_inner(ctx, -1, 0, query, keys, values, indices);
  EXPECT_EQ(indices.to_vector<int32_t>(), (std::vector<int32_t>{0, 2, 1, -1}));
  EXPECT_EQ(values.to_vector<float>(), (std::vector<float>{3, 2, 1, -INFINITY}));
}

}  // namespace
}  // namespace coss
