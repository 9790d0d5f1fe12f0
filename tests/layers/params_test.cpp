// Params: flat buffers, views, initial values, precision.
#include "layers/params.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/support.h"

namespace coss::test {
namespace {

struct Registered {
  Var a, b, bias;
  Tensor stat, master;
  explicit Registered(Params& params) {
    const Scope scope = Scope(params) / "net";
    params.add_weight(scope.name("a.weight"), {50, 40}, FileLayout::plain, Init::kaiming_normal(40), &a, &master);
    params.add_rest(scope.name("a.bias"), {50}, Init::ones(), &bias);
    params.add_weight(scope.name("b.weight"), {30, 50}, FileLayout::plain, Init::kaiming_uniform(50), &b);
    params.add_stat(scope.name("n.running_var"), {7}, Init::ones(), &stat);
  }
};

TEST(Params, ViewsLieInFlatRanges) {
  Params params;
  Registered r(params);
  params.allocate(Device::cpu, DType::bf16, 1);
  EXPECT_EQ(params.count(), 50 * 40 + 30 * 50 + 50);
  EXPECT_EQ(params.weights().offsets, (std::vector<int64_t>{0, 2000, 3504}));
  EXPECT_EQ(r.a.value.dtype(), DType::bf16);
  EXPECT_EQ(r.bias.value.dtype(), DType::f32);
  EXPECT_EQ(r.b.grad->value.dtype(), DType::f32);
  EXPECT_EQ(params.entries()[2].name, "net.b.weight");
  EXPECT_EQ(r.stat.to_vector<float>(), std::vector<float>(7, 1));
  Tensor& weights = params.weights().value;
  kernels(weights).fill(context(Device::cpu), 3, weights);
  params.refresh_compute();
  EXPECT_EQ(r.b.value.to_doubles(), std::vector<double>(1500, 3));
  EXPECT_EQ(r.master.to_vector<float>(), std::vector<float>(2000, 3));
}

TEST(Params, FullPrecisionSharesTheMaster) {
  Params params;
  Registered r(params);
  params.allocate(Device::cpu, DType::f32, 1);
  EXPECT_EQ(params.weights().compute.raw(), params.weights().value.raw());
  EXPECT_EQ(r.a.value.raw(), params.weights().value.raw());
}

TEST(Params, FrozenOnesWantNoGradient) {
  Params params;
  Registered r(params);
  params.allocate(Device::cpu, DType::f32, 1, true);
  EXPECT_FALSE(r.a.grad);
  EXPECT_TRUE(params.weights().grad.empty());
}

TEST(Params, InitialValuesFollowSeedAndPosition) {
  std::vector<std::vector<double>> drawn;
  for (const uint64_t seed : {1, 1, 2}) {
    Params params;
    const Registered r(params);
    params.allocate(Device::cpu, DType::f32, seed);
    drawn.push_back(params.weights().value.to_doubles());
  }
  EXPECT_EQ(drawn[0], drawn[1]);
  EXPECT_NE(drawn[0], drawn[2]);
  double square = 0, greatest = 0;
  for (size_t i = 0; i < 2000; ++i) square += drawn[0][i] * drawn[0][i];
  for (size_t i = 2000; i < 3500; ++i) greatest = std::max(greatest, std::abs(drawn[0][i]));
  EXPECT_NEAR(std::sqrt(square / 2000), std::sqrt(2.0 / 40), 0.02);
  EXPECT_LE(greatest, 1 / std::sqrt(50.0) + 1e-6);
  EXPECT_GT(greatest, 0.9 / std::sqrt(50.0));
}

TEST(Params, NamesAreUnique) {
  Params params;
  Var a, b;
  params.add_rest("bias", {1}, Init::zeros(), &a);
  params.add_rest("bias", {1}, Init::zeros(), &b);
  EXPECT_THROW(params.allocate(Device::cpu, DType::f32, 1), Error);
}

}  // namespace
}  // namespace coss::test
