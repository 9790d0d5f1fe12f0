// Weight gradients of depthwise convolutions, one row of outputs and sixteen channels at a time: the sums of one window
// row stay in registers during one pass over both rows. Each thread adds to its own copy of the weights, and the copies
// are added in order.
#include "engine/cpu/depthwise.h"

#include <type_traits>

#include "engine/cpu/parallel.h"
#include "engine/cpu/scratch.h"
#include "engine/cpu/simd.h"
#include "engine/dispatch.h"

namespace coss::cpu {

namespace {

// sums[s][c] += x[q * stride - pad + s * dilation][c] * dy[q][c] over the row's outputs q.
template <int kWindow, class T>
void add_row(const ConvParams& p, int64_t pad, const T* x, int64_t width, const T* dy, int64_t out_width,
             int64_t channels, float* sums) {
  // Outputs whose whole window lies inside: first <= q < last.
  const int64_t reach = (kWindow - 1) * p.dilation - pad;
  const int64_t first = std::min(out_width, (pad + p.stride - 1) / p.stride);
  const int64_t last = width - 1 < reach ? first : std::clamp((width - 1 - reach) / p.stride + 1, first, out_width);
  for_vectors(0, channels, [&](int64_t c, auto n) {
    Vec total[kWindow];
    for (int s = 0; s < kWindow; ++s) total[s] = get(sums + s * channels + c, n);
    auto at_border = [&](int64_t begin, int64_t end) {
      for (int64_t q = begin; q < end; ++q) {
        const Vec d = get(dy + q * channels + c, n);
        for (int s = 0; s < kWindow; ++s) {
          const int64_t column = q * p.stride - pad + s * p.dilation;
          if (column >= 0 && column < width) total[s] += get(x + column * channels + c, n) * d;
        }
      }
    };
    at_border(0, first);
    for (int64_t q = first; q < last; ++q) {
      const Vec d = get(dy + q * channels + c, n);
      const T* from = x + (q * p.stride - pad) * channels + c;
      for (int s = 0; s < kWindow; ++s) total[s] += get(from + s * p.dilation * channels, n) * d;
    }
    at_border(last, out_width);
    for (int s = 0; s < kWindow; ++s) put(sums + s * channels + c, total[s], n);
  });
}

template <class Body>
void with_window(int64_t window, Body&& body) {
  if (window == 5) return body(std::integral_constant<int, 5>{});
  return body(std::integral_constant<int, 7>{});
}

}  // namespace

bool has_depthwise_wgrad(const ConvParams& p, const Shape& w) { return p.depthwise && (w[1] == 5 || w[1] == 7); }

void depthwise_wgrad(Context& ctx, const ConvParams& p, const Tensor& x, const Tensor& dy, float beta, Tensor& dw) {
  const int64_t height = x.shape()[1], width = x.shape()[2], channels = x.shape()[3];
  const int64_t out_height = dy.shape()[1], out_width = dy.shape()[2];
  const int64_t window_h = dw.shape()[0], window_w = dw.shape()[1], weights = dw.numel();
  const int64_t pad_h = p.pad_before(height, window_h), pad_w = p.pad_before(width, window_w);
  const int parts = threads_for(int64_t(x.bytes() + dy.bytes()));
  Scratch scratch(ctx, Scratch::size_of<float>(parts * weights));
  float* sums = scratch.take<float>(parts * weights);
  std::fill_n(sums, parts * weights, 0.0f);
  dispatch("conv2d", x.dtype(), [&]<class T>() {
    const T *in = x.data<T>(), *upstream = dy.data<T>();
    with_window(window_w, [&](auto window) {
      parallel_parts(x.shape()[0] * out_height, 1, parts, [&](int part, int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          for (int64_t r = 0; r < window_h; ++r) {
            const int64_t h = row % out_height * p.stride - pad_h + r * p.dilation;
            if (h < 0 || h >= height) continue;
            add_row<decltype(window)::value>(p, pad_w, in + (row / out_height * height + h) * width * channels, width,
                                             upstream + row * out_width * channels, out_width, channels,
                                             sums + part * weights + r * window_w * channels);
          }
        }
      });
    });
  });
  float* out = dw.mutable_data<float>();
  for_vectors(0, weights, [&](int64_t i, auto n) {
    Vec total{};
    for (int part = 0; part < parts; ++part) total += get(sums + part * weights + i, n);
    if (beta != 0) total += get(out + i, n) * beta;
    put(out + i, total, n);
  });
}

}  // namespace coss::cpu
