// Convolutions of the reference backend: all four are sums over the same set of products.
#include "tests/reference/access.h"

namespace coss::reference {

namespace {

// Calls visit(index into x, index into w, index into y) for every product of y = conv(x, w).
template <class Visit>
void each_product(const ConvParams& p, const Shape& x, const Shape& w, const Shape& y, Visit visit) {
  const int64_t window_h = p.depthwise ? w[0] : w[1], window_w = p.depthwise ? w[1] : w[2];
  const int64_t in_group = p.depthwise ? 1 : w[3];  // input channels that one output channel sees
  const int64_t out_group = p.depthwise ? 1 : w[0] / p.groups;
  const int64_t pad_h = p.pad_before(x[1], window_h), pad_w = p.pad_before(x[2], window_w);
  for (int64_t n = 0; n < y[0]; ++n) {
    for (int64_t out_h = 0; out_h < y[1]; ++out_h) {
      for (int64_t out_w = 0; out_w < y[2]; ++out_w) {
        for (int64_t r = 0; r < window_h; ++r) {
          for (int64_t s = 0; s < window_w; ++s) {
            const int64_t in_h = out_h * p.stride - pad_h + r * p.dilation;
            const int64_t in_w = out_w * p.stride - pad_w + s * p.dilation;
            if (in_h < 0 || in_h >= x[1] || in_w < 0 || in_w >= x[2]) continue;
            for (int64_t k = 0; k < y[3]; ++k) {
              for (int64_t c = 0; c < in_group; ++c) {
                const int64_t channel = k / out_group * in_group + c;
                const int64_t weight =
                    p.depthwise ? (r * window_w + s) * w[2] + k : ((k * window_h + r) * window_w + s) * in_group + c;
                visit(((n * x[1] + in_h) * x[2] + in_w) * x[3] + channel, weight,
                      ((n * y[1] + out_h) * y[2] + out_w) * y[3] + k);
              }
            }
          }
        }
      }
    }
  }
}

}  // namespace

void conv2d_forward(Context&, const ConvParams& p, const Tensor& x, const Tensor& w, Tensor& y) {
  const double *input = in(x), *weight = in(w);
  double* output = out(y);
  std::fill_n(output, y.numel(), 0.0);
  each_product(p, x.shape(), w.shape(), y.shape(),
               [&](int64_t i, int64_t j, int64_t o) { output[o] += input[i] * weight[j]; });
}

void conv2d_bias_act(Context& context, const ConvParams& p, Activation act, const Tensor& x, const Tensor& w,
                     const Tensor& bias, const Tensor& residual, Tensor& y) {
  conv2d_forward(context, p, x, w, y);
  for (int64_t i = 0; i < y.numel(); ++i) {
    double& value = out(y)[i];
    if (!bias.empty()) value += in(bias)[i % y.shape().back()];
    if (!residual.empty()) value += in(residual)[i];
    value = activate(act, value);
  }
}

void conv2d_dgrad(Context&, const ConvParams& p, const Tensor& w, const Tensor& dy, Tensor& dx) {
  const double *weight = in(w), *upstream = in(dy);
  double* gradient = out(dx);
  std::fill_n(gradient, dx.numel(), 0.0);
  each_product(p, dx.shape(), w.shape(), dy.shape(),
               [&](int64_t i, int64_t j, int64_t o) { gradient[i] += upstream[o] * weight[j]; });
}

void conv2d_wgrad(Context&, const ConvParams& p, const Tensor& x, const Tensor& dy, float beta, Tensor& dw) {
  const double *input = in(x), *upstream = in(dy);
  double* gradient = out(dw);
  for (int64_t j = 0; j < dw.numel(); ++j) gradient[j] = keep(double(beta), gradient[j]);
  each_product(p, x.shape(), dw.shape(), dy.shape(),
               [&](int64_t i, int64_t j, int64_t o) { gradient[j] += upstream[o] * input[i]; });
}

}  // namespace coss::reference
