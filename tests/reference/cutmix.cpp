// CutMix of the reference backend.
#include "engine/math/cutmix_box.h"
#include "tests/reference/access.h"

namespace coss::reference {

void cutmix(Context&, const CutmixParams& p, const Tensor& step, const Tensor& a, const Tensor& b, Tensor& y,
            Tensor& share) {
  const int64_t images = a.shape()[0], height = a.shape()[1], width = a.shape()[2], channels = a.shape()[3];
  const CutmixBox box(p, step.data<int64_t>()[0], height, width);
  out(share)[0] = box.share(height, width);
  for (int64_t pixel = 0; pixel < images * height * width; ++pixel)
    for (int64_t c = 0; c < channels; ++c) {
      const Tensor& from = box.contains(pixel / width % height, pixel % width) ? b : a;
      out(y)[pixel * channels + c] = in(from)[pixel * channels + c];
    }
}

}  // namespace coss::reference
