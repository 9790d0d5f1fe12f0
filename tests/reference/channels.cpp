// Scaling of channels and copies of columns, for the reference backend.
#include "tests/reference/access.h"

namespace coss::reference {

namespace {

// The index in (N,C) of the factor of element i of x (N,H,W,C).
int64_t factor_of(const Shape& x, int64_t i) { return i / (x[1] * x[2] * x[3]) * x[3] + i % x[3]; }

}  // namespace

void scale_channels_forward(Context&, const Tensor& x, const Tensor& s, Tensor& y) {
  for (int64_t i = 0; i < x.numel(); ++i) out(y)[i] = in(x)[i] * in(s)[factor_of(x.shape(), i)];
}

void scale_channels_backward(Context&, const Tensor& x, const Tensor& s, const Tensor& dy, Tensor& dx, Tensor& ds) {
  std::fill_n(out(ds), ds.numel(), 0.0);
  for (int64_t i = 0; i < x.numel(); ++i) {
    const int64_t factor = factor_of(x.shape(), i);
    out(dx)[i] = in(dy)[i] * in(s)[factor];
    out(ds)[factor] += in(dy)[i] * in(x)[i];
  }
}

void copy_columns(Context&, const ColumnMap& map, const Tensor& x, Tensor& y) {
  for (int64_t row = 0; row < x.shape().rows(); ++row) {
    for (int64_t i = 0; i < map.count; ++i)
      out(y)[row * y.shape().back() + map.to + i * map.to_stride] =
          in(x)[row * x.shape().back() + map.from + i * map.from_stride];
  }
}

}  // namespace coss::reference
