// A folded convolution (engine/cuda/library/stem_fold.h) is the same convolution: forward and weight gradient against
// the reference, for the windows of the models, and for other sizes, paddings and channels.
#include "engine/cuda/library/stem_fold.h"

#include "tests/engine/kernel_test.h"

namespace coss::test {
namespace {

using cuda::ConvKey;

struct Stem {
  int64_t n, h, w, c, k, r, pad;
  bool same = false;
};
const Stem kStems[] = {{2, 14, 14, 3, 16, 7, 3},     {2, 10, 12, 3, 8, 3, 1},      {1, 9, 11, 3, 8, 7, 3},
                       {2, 9, 7, 1, 8, 3, 0},        {1, 8, 8, 4, 8, 2, 0},        {1, 11, 13, 2, 8, 5, 2},
                       {1, 7, 280, 3, 8, 3, 1},      {2, 6, 6, 3, 8, 1, 0},        {2, 14, 10, 3, 8, 3, 0, true},
                       {1, 9, 12, 3, 8, 3, 0, true}, {1, 11, 8, 3, 8, 5, 0, true}, {1, 10, 7, 2, 8, 7, 0, true}};

class StemFold : public KernelTest {
 protected:
  void SetUp() override {
    if (backend_.device != Device::cuda || compute() == DType::f32) GTEST_SKIP() << "16-bit types on a GPU only";
  }
  ConvKey key_of(const Stem& stem) const {
    ConvKey key{.n = stem.n, .h = stem.h, .w = stem.w, .c = stem.c, .k = stem.k, .r = stem.r, .s = stem.r};
    key.params = {.stride = 2, .pad = stem.pad, .same = stem.same};
    key.dtype = compute();
    return key;
  }
  Tensor empty(Shape shape, DType dtype) const { return Tensor(shape, dtype, Device::cuda); }
};
INSTANTIATE_TEST_SUITE_P(Backends, StemFold, testing::ValuesIn(backends()),
                         [](const auto& test) { return backend_name(test.param); });

TEST_P(StemFold, IsTheSameConvolution) {
  Context& ctx = context(Device::cuda);
  for (const Stem& stem : kStems) {
    SCOPED_TRACE(testing::Message() << stem.h << "x" << stem.w << " c" << stem.c << " r" << stem.r << " pad" << stem.pad
                                    << (stem.same ? " same" : ""));
    const ConvKey key = key_of(stem), folded = key.folded();
    ASSERT_TRUE(key.foldable());
    EXPECT_EQ(folded.p(), key.p());
    EXPECT_EQ(folded.q(), key.q());
    const Shape y_shape{key.n, key.p(), key.q(), key.k};
    Twin x = normal({key.n, key.h, key.w, key.c}, compute(), 1), w = normal({key.k, key.r, key.s, key.c}, compute(), 2);
    Twin dy = normal(y_shape, compute(), 3);

    Tensor image = empty({folded.n, folded.h, folded.w, folded.c}, compute());
    Tensor window = empty({folded.k, folded.r, folded.s, folded.c}, compute());
    cuda::fold_image(ctx, key, x[0].raw(), image.mutable_raw());
    cuda::fold_window(ctx, key, w[0].raw(), window.mutable_raw());
    Twin y = output(y_shape, compute());
    kernels(Device::cuda).conv2d_forward(ctx, {}, image, window, y[0]);
    kernels(Device::reference).conv2d_forward(context(Device::reference), key.params, x[1], w[1], y[1]);
    expect_close(y);

    for (float beta : {0.0f, 1.0f}) {
      Twin dw = normal(w[0].shape(), DType::f32, 4);
      Tensor gradient = empty(window.shape(), DType::f32);
      kernels(Device::cuda).conv2d_wgrad(ctx, {}, image, dy[0], 0, gradient);
      cuda::unfold_window(ctx, key, beta, gradient.data<float>(), dw[0].mutable_data<float>());
      kernels(Device::reference).conv2d_wgrad(context(Device::reference), key.params, x[1], dy[1], beta, dw[1]);
      expect_close(dw);
    }
  }
}

}  // namespace
}  // namespace coss::test
