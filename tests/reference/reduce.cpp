// Reductions of the reference backend.
#include "tests/reference/access.h"

namespace coss::reference {

void sum_rows(Context&, float beta, const Tensor& x, Tensor& y) {
  const int64_t width = x.shape().back();
  for (int64_t d = 0; d < width; ++d) {
    double sum = keep(double(beta), in(y)[d]);
    for (int64_t r = 0; r < x.shape().rows(); ++r) sum += in(x)[r * width + d];
    out(y)[d] = sum;
  }
}

void sum_squares(Context&, float beta, const Tensor& x, Tensor& y) {
  double sum = keep(double(beta), in(y)[0]);
  for (double value : x.to_doubles()) sum += value * value;
  out(y)[0] = sum;
}

void normalize_rows(Context&, float eps, const Tensor& x, Tensor& y) {
  const int64_t width = x.shape().back();
  for (int64_t r = 0; r < x.shape().rows(); ++r) {
    double squares = 0;
    for (int64_t d = 0; d < width; ++d) squares += in(x)[r * width + d] * in(x)[r * width + d];
    const double norm = std::max(std::sqrt(squares), double(eps));
    for (int64_t d = 0; d < width; ++d) out(y)[r * width + d] = in(x)[r * width + d] / norm;
  }
}

void normalize_rows_backward(Context&, float eps, const Tensor& x, const Tensor& dy, Tensor& dx) {
  const int64_t width = x.shape().back();
  for (int64_t r = 0; r < x.shape().rows(); ++r) {
    double squares = 0, product = 0;
    for (int64_t d = 0; d < width; ++d) {
      squares += in(x)[r * width + d] * in(x)[r * width + d];
      product += in(x)[r * width + d] * in(dy)[r * width + d];
    }
    // Below eps the divisor is a constant.
    const double norm = std::max(std::sqrt(squares), double(eps));
    const double along = std::sqrt(squares) > double(eps) ? product / squares : 0;
    for (int64_t d = 0; d < width; ++d)
      out(dx)[r * width + d] = (in(dy)[r * width + d] - along * in(x)[r * width + d]) / norm;
  }
}

}  // namespace coss::reference
