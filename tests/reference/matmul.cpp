// Matrix product of the reference backend.
#include "tests/reference/access.h"

namespace coss::reference {

void matmul(Context&, const MatmulParams& p, const Tensor& a, const Tensor& b, const Tensor& bias, Tensor& y) {
  const int64_t rows = y.shape().rows(), columns = y.shape().back();
  const int64_t inner = a.numel() / rows;
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) {
      double sum = bias.empty() ? 0 : in(bias)[j];
      for (int64_t k = 0; k < inner; ++k) {
        const double left = in(a)[p.transpose_a ? k * rows + i : i * inner + k];
        const double right = in(b)[p.transpose_b ? j * inner + k : k * columns + j];
        sum += left * right;
      }
      double& result = out(y)[i * columns + j];
      result = activate(p.activation, sum) + keep(double(p.beta), result);
    }
  }
}

}  // namespace coss::reference
