// The kernels that complete a library's convolution on a GPU (engine/cuda/library/bias_act.h), against plain loops. The
// cases: every type, widths that are no multiple of a vector, addresses that are no multiple of 16, many rows, wide
// rows.
#include "engine/cuda/library/bias_act.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/engine/kernel_test.h"
#include "tests/reference/access.h"

namespace coss::test {
namespace {

using cuda::Rows;

// A matrix that starts `offset` elements into its memory.
struct Matrix {
  Tensor storage, view;
  Matrix(int64_t rows, int64_t width, DType dtype, int64_t offset, uint64_t seed)
      : storage(random_tensor({rows * width + offset}, dtype, Device::cuda, seed)),
        view(storage.view(offset, {rows, width})) {}
  Rows rows() { return {view.mutable_raw(), view.dtype(), view.shape()[0], view.shape()[1]}; }
};

struct Sizes {
  int64_t rows, width, offset;
};
const Sizes kSizes[] = {{1, 1, 0},    {5, 8, 0},    {33, 24, 0}, {7, 13, 0},   {300, 64, 0}, {9, 64, 1},
                        {3, 2048, 0}, {2, 2600, 0}, {2, 259, 3}, {1100, 8, 8}, {2053, 1, 0}, {70, 16, 0}};

class ConvRows : public testing::TestWithParam<DType> {
 protected:
  void SetUp() override {
    const std::vector<Device> devices = devices_under_test();
    if (std::find(devices.begin(), devices.end(), Device::cuda) == devices.end()) GTEST_SKIP() << "no GPU";
  }
  Context& ctx() { return context(Device::cuda); }
  static double unit(DType dtype) { return dtype == DType::f32 ? 1e-6 : dtype == DType::f16 ? 1e-3 : 8e-3; }
};
INSTANTIATE_TEST_SUITE_P(DTypes, ConvRows, testing::Values(DType::f32, DType::bf16, DType::f16),
                         [](const auto& test) { return name_of(test.param); });

TEST_P(ConvRows, BiasResidualActivation) {
  for (const Sizes& size : kSizes) {
    for (Activation activation :
         {Activation::none, Activation::relu, Activation::relu6, Activation::silu, Activation::hardswish}) {
      for (bool with_residual : {false, true}) {
        Matrix y(size.rows, size.width, GetParam(), size.offset, 1);
        Matrix residual(size.rows, size.width, GetParam(), size.offset, 2);
        const Tensor bias = random_tensor({size.width}, DType::f32, Device::cuda, 3, 3);
        const std::vector<double> before = y.view.to_doubles(), added = residual.view.to_doubles(),
                                  b = bias.to_doubles();
        const std::vector<double> around = y.storage.to_doubles();
        cuda::add_bias_act(ctx(), activation, bias.data<float>(), with_residual ? residual.view.raw() : nullptr,
                           y.rows());
        const std::vector<double> after = y.view.to_doubles();
        for (size_t i = 0; i < after.size(); ++i) {
          const double z = before[i] + b[i % b.size()] + (with_residual ? added[i] : 0);
          ASSERT_NEAR(after[i], reference::activate(activation, z), unit(GetParam()) * (1 + std::abs(z)))
              << size.rows << "x" << size.width << " at " << i;
        }
        for (size_t i = 0; i < size_t(size.offset); ++i) ASSERT_EQ(y.storage.to_doubles()[i], around[i]);
      }
    }
  }
}

TEST_P(ConvRows, CopiesBetweenTypesAndWidths) {
  for (DType to : {DType::f32, GetParam()}) {
    for (const Sizes& size : kSizes) {
      for (int64_t width : {size.width, size.width + 3, int64_t(8), int64_t(16)}) {
        Matrix x(size.rows, size.width, GetParam(), size.offset, 4), y(size.rows, width, to, 0, 5);
        cuda::copy_rows(ctx(), x.rows(), y.rows());
        const std::vector<double> from = x.view.to_doubles(), result = y.view.to_doubles();
        for (int64_t row = 0; row < size.rows; ++row) {
          for (int64_t column = 0; column < width; ++column) {
            const double expected = column < size.width ? from[size_t(row * size.width + column)] : 0;
            ASSERT_EQ(result[size_t(row * width + column)], expected) << size.rows << "x" << size.width << " " << width;
          }
        }
      }
    }
  }
}

TEST_P(ConvRows, BiasRounded) {
  const Tensor bias = random_tensor({77}, DType::f32, Device::cuda, 6);
  Tensor rounded({77}, GetParam(), Device::cuda);
  cuda::copy_rows(ctx(), {bias.raw(), DType::f32, 1, 77}, {rounded.mutable_raw(), GetParam(), 1, 77});
  EXPECT_EQ(rounded.to_doubles(), convert(bias, GetParam(), Device::cpu).to_doubles());
}

TEST_P(ConvRows, AddsAWeightGradient) {
  for (const Sizes& size : kSizes) {
    for (float beta : {0.0f, 1.0f, 0.5f}) {
      for (int64_t more : {int64_t(0), int64_t(5), int64_t(-1)}) {  // extra columns of x; -1: no x
        Matrix x(size.rows, size.width + std::max(more, int64_t(0)), DType::f32, 0, 7);
        Matrix y(size.rows, size.width, DType::f32, size.offset, 8);
        const std::vector<double> from = x.view.to_doubles(), before = y.view.to_doubles();
        Rows rows = x.rows();
        if (more < 0) rows.data = nullptr;
        cuda::add_rows(ctx(), beta, rows, y.rows());
        const std::vector<double> after = y.view.to_doubles();
        for (size_t i = 0; i < after.size(); ++i) {
          const size_t row = i / size_t(size.width), column = i % size_t(size.width);
          const double gradient = more < 0 ? 0 : from[row * size_t(rows.width) + column];
          ASSERT_NEAR(after[i], double(beta) * before[i] + gradient, 1e-6 * (1 + std::abs(gradient)));
        }
      }
    }
  }
}

}  // namespace
}  // namespace coss::test
