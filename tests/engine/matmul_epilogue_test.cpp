// The epilogue of a matrix product on a GPU: bias, activation and accumulation, with and without whole vectors.
#include "engine/cuda/library/matmul_epilogue.h"

#include "tests/engine/kernel_test.h"
#include "tests/reference/access.h"

namespace coss::test {

#if defined(COSS_CUDA_HOST) || defined(COSS_CUDA)

COSS_KERNEL_SUITE(MatmulEpilogue);

TEST_P(MatmulEpilogue, BiasActivationAndAccumulation) {
  if (GetParam().device != Device::cuda) GTEST_SKIP() << "the CUDA backend's";
  struct Case {
    int64_t rows, columns, offset;
  };
  for (const Case& c : {Case{5, 24, 0}, Case{40, 13, 0}, Case{3, 16, 3}, Case{1, 1, 0}}) {
    for (Activation activation :
         {Activation::none, Activation::relu, Activation::relu6, Activation::gelu, Activation::quick_gelu}) {
      for (float beta : {0.0f, 1.0f}) {
        for (bool with_bias : {false, true}) {
          for (bool in_place : {false, true}) {
            if (beta != 0 && (in_place || activation != Activation::none)) continue;
            const Shape shape{c.rows, c.columns};
            const int64_t count = shape.numel();
            Tensor all = random_tensor({c.offset + count}, compute(), Device::cuda, 1, 4);
            Tensor x = random_tensor({c.offset + count}, DType::f32, Device::cuda, 2, 4);
            Tensor bias = random_tensor({c.columns}, DType::f32, Device::cuda, 3, 3);
            Tensor y = all.view(c.offset, shape);
            const std::vector<double> old = y.to_doubles(), added = bias.to_doubles(),
                                      product = in_place ? old : x.view(c.offset, shape).to_doubles();
            cuda::matmul_epilogue(context(Device::cuda), activation, beta,
                                  in_place ? nullptr : x.data<float>() + c.offset, with_bias ? bias : Tensor(), y);
            std::vector<double> expected;
            for (int64_t i = 0; i < count; ++i) {
              const double z = product[size_t(i)] + (with_bias ? added[size_t(i % c.columns)] : 0);
              expected.push_back(reference::activate(activation, z) + beta * old[size_t(i)]);
            }
            // With few elements one may have the largest rounding error, 2^-22 in f16.
            EXPECT_LE(normalized_error(y.to_doubles(), expected), 3 * bound(compute()));
          }
        }
      }
    }
  }
}

#else

TEST(MatmulEpilogue, OfTheCudaBackend) { GTEST_SKIP() << "this build has no CUDA backend"; }

#endif

}  // namespace coss::test
