// CutMix: a row of an image is one or three runs of bytes.
#include <cstring>

#include "engine/cpu/parallel.h"
#include "engine/kernels.h"
#include "engine/math/cutmix_box.h"

namespace coss::cpu {

void cutmix(Context&, const CutmixParams& p, const Tensor& step, const Tensor& a, const Tensor& b, Tensor& y,
            Tensor& share) {
  const int64_t images = a.shape()[0], height = a.shape()[1], width = a.shape()[2];
  const int64_t pixel = a.shape()[3] * int64_t(size_of(a.dtype())), row = width * pixel;
  const CutmixBox box(p, step.data<int64_t>()[0], height, width);
  share.mutable_data<float>()[0] = float(box.share(height, width));
  const auto *outside = static_cast<const char*>(a.raw()), *inside = static_cast<const char*>(b.raw());
  auto* out = static_cast<char*>(y.mutable_raw());
  const int64_t left = box.left * pixel, right = box.right * pixel;
  parallel_ranges(images * height, 1, 2 * row, [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const int64_t at = r * row;
      if (r % height < box.top || r % height >= box.bottom) {
        std::memcpy(out + at, outside + at, size_t(row));
        continue;
      }
      std::memcpy(out + at, outside + at, size_t(left));
      std::memcpy(out + at + left, inside + at + left, size_t(right - left));
      std::memcpy(out + at + right, outside + at + right, size_t(row - right));
    }
  });
}

}  // namespace coss::cpu
