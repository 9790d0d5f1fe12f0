// Softmax of the reference backend.
#include "tests/reference/access.h"

namespace coss::reference {

void log_softmax(Context&, float temperature, const Tensor& x, Tensor& y) {
  const int64_t width = x.shape().back();
  for (int64_t r = 0; r < x.shape().rows(); ++r) {
    const double *row = in(x) + r * width, greatest = *std::max_element(row, row + width);
    double sum = 0;
    for (int64_t d = 0; d < width; ++d) sum += std::exp((row[d] - greatest) / double(temperature));
    for (int64_t d = 0; d < width; ++d) {
      out(y)[r * width + d] = (row[d] - greatest) / double(temperature) - std::log(sum);
    }
  }
}

void softmax(Context& context, float temperature, const Tensor& x, Tensor& y) {
  log_softmax(context, temperature, x, y);
  for (int64_t i = 0; i < y.numel(); ++i) out(y)[i] = std::exp(in(y)[i]);
}

}  // namespace coss::reference
