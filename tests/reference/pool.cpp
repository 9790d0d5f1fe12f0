// Pooling and the parameter-free shortcut of the reference backend.
#include <limits>

#include "tests/reference/access.h"

namespace coss::reference {

namespace {

// Index of element (n, h, w, c) of a tensor of this shape.
int64_t at(const Shape& shape, int64_t n, int64_t h, int64_t w, int64_t c) {
  return ((n * shape[1] + h) * shape[2] + w) * shape[3] + c;
}

template <class Visit>
void each_element(const Shape& shape, Visit visit) {
  for (int64_t n = 0; n < shape[0]; ++n) {
    for (int64_t h = 0; h < shape[1]; ++h) {
      for (int64_t w = 0; w < shape[2]; ++w) {
        for (int64_t c = 0; c < shape[3]; ++c) visit(n, h, w, c);
      }
    }
  }
}

}  // namespace

void max_pool_forward(Context&, const PoolParams& p, const Tensor& x, Tensor& y, Tensor& index) {
  each_element(y.shape(), [&](int64_t n, int64_t h, int64_t w, int64_t c) {
    double best = -std::numeric_limits<double>::infinity();
    int64_t where = -1;
    for (int64_t tap = 0; tap < p.window * p.window; ++tap) {
      const int64_t in_h = h * p.stride - p.pad + tap / p.window, in_w = w * p.stride - p.pad + tap % p.window;
      if (in_h < 0 || in_h >= x.shape()[1] || in_w < 0 || in_w >= x.shape()[2]) continue;
      const double value = in(x)[at(x.shape(), n, in_h, in_w, c)];
      if (where < 0 || value > best) {
        best = value;
        where = tap;
      }
    }
    out(y)[at(y.shape(), n, h, w, c)] = best;
    index.mutable_data<uint8_t>()[at(y.shape(), n, h, w, c)] = uint8_t(where);
  });
}

void max_pool_backward(Context&, const PoolParams& p, const Tensor& dy, const Tensor& index, Tensor& dx) {
  std::fill_n(out(dx), dx.numel(), 0.0);
  each_element(dy.shape(), [&](int64_t n, int64_t h, int64_t w, int64_t c) {
    const int64_t tap = index.data<uint8_t>()[at(dy.shape(), n, h, w, c)];
    const int64_t in_h = h * p.stride - p.pad + tap / p.window, in_w = w * p.stride - p.pad + tap % p.window;
    out(dx)[at(dx.shape(), n, in_h, in_w, c)] += in(dy)[at(dy.shape(), n, h, w, c)];
  });
}

void mean_hw_forward(Context&, const Tensor& x, Tensor& y) {
  const double positions = double(x.shape()[1] * x.shape()[2]);
  std::fill_n(out(y), y.numel(), 0.0);
  each_element(x.shape(), [&](int64_t n, int64_t h, int64_t w, int64_t c) {
    out(y)[n * x.shape()[3] + c] += in(x)[at(x.shape(), n, h, w, c)] / positions;
  });
}

void mean_hw_backward(Context&, const Tensor& dy, Tensor& dx) {
  const double positions = double(dx.shape()[1] * dx.shape()[2]);
  each_element(dx.shape(), [&](int64_t n, int64_t h, int64_t w, int64_t c) {
    out(dx)[at(dx.shape(), n, h, w, c)] = in(dy)[n * dx.shape()[3] + c] / positions;
  });
}

void shortcut_a_forward(Context&, int64_t stride, int64_t before, const Tensor& x, Tensor& y) {
  each_element(y.shape(), [&](int64_t n, int64_t h, int64_t w, int64_t c) {
    const bool inside = c >= before && c < before + x.shape()[3];
    out(y)[at(y.shape(), n, h, w, c)] = inside ? in(x)[at(x.shape(), n, h * stride, w * stride, c - before)] : 0;
  });
}

void shortcut_a_backward(Context&, int64_t stride, int64_t before, const Tensor& dy, Tensor& dx) {
  each_element(dx.shape(), [&](int64_t n, int64_t h, int64_t w, int64_t c) {
    const bool used = h % stride == 0 && w % stride == 0;
    out(dx)[at(dx.shape(), n, h, w, c)] = used ? in(dy)[at(dy.shape(), n, h / stride, w / stride, c + before)] : 0;
  });
}

namespace {

// Calls visit(index into x, index into y) for every value of a window that lies inside the image.
template <class Visit>
void each_average(const PoolParams& p, const Shape& x, const Shape& y, Visit visit) {
  each_element(y, [&](int64_t n, int64_t h, int64_t w, int64_t c) {
    for (int64_t tap = 0; tap < p.window * p.window; ++tap) {
      const int64_t in_h = h * p.stride - p.pad + tap / p.window, in_w = w * p.stride - p.pad + tap % p.window;
      if (in_h < 0 || in_h >= x[1] || in_w < 0 || in_w >= x[2]) continue;
      visit(at(x, n, in_h, in_w, c), at(y, n, h, w, c));
    }
  });
}

}  // namespace

void avg_pool_forward(Context&, const PoolParams& p, const Tensor& x, Tensor& y) {
  std::fill_n(out(y), y.numel(), 0.0);
  each_average(p, x.shape(), y.shape(),
               [&](int64_t from, int64_t to) { out(y)[to] += in(x)[from] / double(p.window * p.window); });
}

void avg_pool_backward(Context&, const PoolParams& p, const Tensor& dy, Tensor& dx) {
  std::fill_n(out(dx), dx.numel(), 0.0);
  each_average(p, dx.shape(), dy.shape(),
               [&](int64_t to, int64_t from) { out(dx)[to] += in(dy)[from] / double(p.window * p.window); });
}

}  // namespace coss::reference
