// Tokens of the reference backend.
#include "tests/reference/access.h"

namespace coss::reference {

namespace {

// body(image element, token element) for each value of an image cut into squares.
template <class Body>
void for_patches(int64_t size, const Shape& image, Body&& body) {
  const int64_t height = image[1], width = image[2], channels = image[3];
  for (int64_t n = 0; n < image[0]; ++n)
    for (int64_t h = 0; h < height; ++h)
      for (int64_t w = 0; w < width; ++w)
        for (int64_t c = 0; c < channels; ++c) {
          const int64_t token = (n * (height / size) + h / size) * (width / size) + w / size;
          const int64_t inner = ((h % size) * size + w % size) * channels + c;
          body(((n * height + h) * width + w) * channels + c, token * size * size * channels + inner);
        }
}

}  // namespace

void patches_forward(Context&, int64_t size, const Tensor& x, Tensor& y) {
  for_patches(size, x.shape(), [&](int64_t image, int64_t token) { out(y)[token] = in(x)[image]; });
}

void patches_backward(Context&, int64_t size, const Tensor& dy, Tensor& dx) {
  for_patches(size, dx.shape(), [&](int64_t image, int64_t token) { out(dx)[image] = in(dy)[token]; });
}

void join_tokens_forward(Context&, const Tensor& first, const Tensor& x, const Tensor& position, Tensor& y) {
  const int64_t tokens = y.shape()[1], width = y.shape()[2], more = tokens - x.shape()[1];
  const bool shared = first.shape().rank == 1;
  for (int64_t n = 0; n < y.shape()[0]; ++n)
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t d = 0; d < width; ++d) {
        const double value =
            t < more ? in(first)[(shared ? 0 : n * width) + d] : in(x)[(n * x.shape()[1] + t - more) * width + d];
        out(y)[(n * tokens + t) * width + d] = value + in(position)[t * width + d];
      }
}

void join_tokens_backward(Context&, const Tensor& dy, Tensor& dfirst, Tensor& dx, Tensor& dposition) {
  const int64_t tokens = dy.shape()[1], width = dy.shape()[2], more = tokens - dx.shape()[1];
  const bool shared = dfirst.shape().rank == 1;
  for (int64_t n = 0; n < dy.shape()[0]; ++n)
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t d = 0; d < width; ++d) {
        const double g = in(dy)[(n * tokens + t) * width + d];
        out(dposition)[t * width + d] += g;
        if (t >= more)
          out(dx)[(n * dx.shape()[1] + t - more) * width + d] = g;
        else if (shared)
          out(dfirst)[d] += g;
        else if (!dfirst.empty())
          out(dfirst)[n * width + d] = g;
      }
}

void mean_tokens_forward(Context&, int64_t first, int64_t count, const Tensor& x, Tensor& y) {
  const int64_t tokens = x.shape()[1], width = x.shape()[2];
  for (int64_t n = 0; n < x.shape()[0]; ++n)
    for (int64_t d = 0; d < width; ++d) {
      double sum = 0;
      for (int64_t t = first; t < first + count; ++t) sum += in(x)[(n * tokens + t) * width + d];
      out(y)[n * width + d] = sum / double(count);
    }
}

void mean_tokens_backward(Context&, int64_t first, int64_t count, const Tensor& dy, Tensor& dx) {
  const int64_t tokens = dx.shape()[1], width = dx.shape()[2];
  for (int64_t n = 0; n < dx.shape()[0]; ++n)
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t d = 0; d < width; ++d)
        out(dx)[(n * tokens + t) * width + d] =
            t >= first && t < first + count ? in(dy)[n * width + d] / double(count) : 0;
}

}  // namespace coss::reference
