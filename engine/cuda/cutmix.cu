// CutMix: reads an element of one of the two images and writes it. Every thread draws the box again, once for several
// rows of pixels, which costs less than a separate launch.
#include "engine/cuda/device.h"
#include "engine/dispatch.h"
#include "engine/kernels.h"
#include "engine/math/cutmix_box.h"

namespace coss::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kRowsPerBlock = 8;  // rows of pixels, so that the box is drawn once for many elements

template <class T>
__global__ void __launch_bounds__(kThreads)
    mix_rows(CutmixParams p, const int64_t* step, const T* a, const T* b, T* y, float* share, int64_t rows,
             int64_t height, int64_t width, int64_t channels) {
  const CutmixBox box(p, *step, height, width);
  if (blockIdx.x == 0 && threadIdx.x == 0) *share = float(box.share(height, width));
  const int64_t left = box.left * channels, right = box.right * channels, count = width * channels;
  for (int k = 0; k < kRowsPerBlock; ++k) {
    const int64_t row = int64_t(blockIdx.x) * kRowsPerBlock + k;
    if (row >= rows) return;
    const int64_t line = row % height;
    const bool crosses = line >= box.top && line < box.bottom;
    for (int64_t i = threadIdx.x; i < count; i += kThreads) {
      const T* from = crosses && i >= left && i < right ? b : a;
      y[row * count + i] = from[row * count + i];
    }
  }
}

}  // namespace

void cutmix(Context& ctx, const CutmixParams& p, const Tensor& step, const Tensor& a, const Tensor& b, Tensor& y,
            Tensor& share) {
  const int64_t height = a.shape()[1], width = a.shape()[2], rows = a.shape()[0] * height;
  dispatch("cutmix", a.dtype(), [&]<class T>() {
    launch(ctx, {"cutmix", blocks_for(rows, kRowsPerBlock), kThreads}, mix_rows<T>, p, step.data<int64_t>(),
           a.data<T>(), b.data<T>(), y.mutable_data<T>(), share.mutable_data<float>(), rows, height, width,
           a.shape()[3]);
  });
}

}  // namespace coss::cuda
