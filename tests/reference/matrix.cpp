// Small operations on matrices, of the reference backend.
#include "tests/reference/access.h"

namespace coss::reference {

void center_rows(Context&, const Tensor& x, Tensor& y) {
  const int64_t width = x.shape().back();
  for (int64_t r = 0; r < x.shape().rows(); ++r) {
    double mean = 0;
    for (int64_t d = 0; d < width; ++d) mean += in(x)[r * width + d] / double(width);
    for (int64_t d = 0; d < width; ++d) out(y)[r * width + d] = in(x)[r * width + d] - mean;
  }
}

void softmax_backward(Context&, float temperature, const Tensor& y, const Tensor& dy, Tensor& dx) {
  const int64_t width = y.shape().back();
  for (int64_t r = 0; r < y.shape().rows(); ++r) {
    double mean = 0;
    for (int64_t i = r * width; i < (r + 1) * width; ++i) mean += in(y)[i] * in(dy)[i];
    for (int64_t i = r * width; i < (r + 1) * width; ++i)
      out(dx)[i] = in(y)[i] * (in(dy)[i] - mean) / double(temperature);
  }
}

void transpose(Context&, const Tensor& x, Tensor& y) {
  const int64_t rows = x.shape()[0], columns = x.shape()[1];
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c) out(y)[c * rows + r] = in(x)[r * columns + c];
}

}  // namespace coss::reference
