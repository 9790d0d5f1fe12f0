// Layer norm of the reference backend.
#include "tests/reference/access.h"

namespace coss::reference {

void layer_norm_forward(Context&, float eps, const Tensor& x, const Tensor& gamma, const Tensor& beta, Tensor& y,
                        Tensor& mean, Tensor& rstd) {
  const int64_t width = x.shape().back();
  for (int64_t r = 0; r < x.shape().rows(); ++r) {
    const double* row = in(x) + r * width;
    double sum = 0, squares = 0;
    for (int64_t d = 0; d < width; ++d) sum += row[d];
    const double center = sum / double(width);
    for (int64_t d = 0; d < width; ++d) squares += (row[d] - center) * (row[d] - center);
    out(mean)[r] = center;
    out(rstd)[r] = 1 / std::sqrt(squares / double(width) + double(eps));
    for (int64_t d = 0; d < width; ++d)
      out(y)[r * width + d] = in(gamma)[d] * (row[d] - center) * in(rstd)[r] + in(beta)[d];
  }
}

void layer_norm_backward(Context&, const Tensor& x, const Tensor& gamma, const Tensor& mean, const Tensor& rstd,
                         const Tensor& dy, Tensor& dx, Tensor& dgamma, Tensor& dbeta) {
  const int64_t width = x.shape().back();
  for (int64_t r = 0; r < x.shape().rows(); ++r) {
    auto scaled = [&](int64_t d) { return (in(x)[r * width + d] - in(mean)[r]) * in(rstd)[r]; };
    double sum = 0, product = 0;
    for (int64_t d = 0; d < width; ++d) {
      const double g = in(dy)[r * width + d];
      sum += g * in(gamma)[d] / double(width);
      product += g * in(gamma)[d] * scaled(d) / double(width);
      out(dgamma)[d] += g * scaled(d);
      out(dbeta)[d] += g;
    }
    for (int64_t d = 0; d < width; ++d)
      out(dx)[r * width + d] = in(rstd)[r] * (in(dy)[r * width + d] * in(gamma)[d] - sum - scaled(d) * product);
  }
}

}  // namespace coss::reference
