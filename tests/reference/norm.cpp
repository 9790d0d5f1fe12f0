// Batch norm + add + activation of the reference backend, and the folding of a frozen norm.
#include "tests/reference/access.h"

namespace coss::reference {

void norm_act_forward(Context&, const NormParams& p, const Tensor& x, const Tensor& gamma, const Tensor& beta,
                      const Tensor& residual, Tensor& running_mean, Tensor& running_var, Tensor& y, Tensor& mean,
                      Tensor& rstd, Tensor& mask) {
  const int64_t rows = x.shape().rows(), width = x.shape().back();
  if (!mask.empty()) std::fill_n(mask.mutable_data<uint8_t>(), mask.numel(), uint8_t(0));
  for (int64_t c = 0; c < width; ++c) {
    double sum = 0, squares = 0;
    for (int64_t r = 0; r < rows; ++r) sum += in(x)[r * width + c];
    const double m = sum / double(rows);
    for (int64_t r = 0; r < rows; ++r) squares += std::pow(in(x)[r * width + c] - m, 2);
    const double scale = 1 / std::sqrt(squares / double(rows) + double(p.eps)), momentum = double(p.momentum);
    out(mean)[c] = m;
    out(rstd)[c] = scale;
    out(running_mean)[c] += momentum * (m - in(running_mean)[c]);
    out(running_var)[c] += momentum * (squares / double(std::max<int64_t>(rows - 1, 1)) - in(running_var)[c]);
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t i = r * width + c;
      double value = in(gamma)[c] * (in(x)[i] - m) * scale + in(beta)[c];
      if (!residual.empty()) value += in(residual)[i];
      if (!mask.empty() && passes(p.activation, value)) mask.mutable_data<uint8_t>()[i / 8] |= uint8_t(1 << i % 8);
      out(y)[i] = activate(p.activation, value);
    }
  }
}

void norm_act_backward(Context&, const NormParams& p, const Tensor& x, const Tensor& mask, const Tensor& gamma,
                       const Tensor& beta, const Tensor& mean, const Tensor& rstd, const Tensor& dy, Tensor& dx,
                       Tensor& dresidual, Tensor& dgamma, Tensor& dbeta) {
  const int64_t rows = x.shape().rows(), width = x.shape().back();
  std::vector<double> dz(in(dy), in(dy) + dy.numel());  // gradient before the activation
  for (size_t i = 0; i < dz.size(); ++i) {
    if (!clips(p.activation)) {
      const size_t c = i % size_t(width);
      dz[i] *= slope(p.activation, in(gamma)[c] * (in(x)[i] - in(mean)[c]) * in(rstd)[c] + in(beta)[c]);
    }
    if (!mask.empty() && !(mask.data<uint8_t>()[i / 8] >> i % 8 & 1)) dz[i] = 0;
  }
  if (!dresidual.empty()) std::copy(dz.begin(), dz.end(), out(dresidual));
  for (int64_t c = 0; c < width; ++c) {
    auto normal = [&](int64_t r) { return (in(x)[r * width + c] - in(mean)[c]) * in(rstd)[c]; };
    double sum = 0, product = 0;
    for (int64_t r = 0; r < rows; ++r) {
      sum += dz[size_t(r * width + c)];
      product += dz[size_t(r * width + c)] * normal(r);
    }
    out(dgamma)[c] += product;
    out(dbeta)[c] += sum;
    // The mean and the variance depend on x too, so the parts of dz along 1 and along the normalized x are subtracted.
    for (int64_t r = 0; r < rows; ++r) {
      out(dx)[r * width + c] = in(gamma)[c] * in(rstd)[c] *
                               (dz[size_t(r * width + c)] - sum / double(rows) - normal(r) * product / double(rows));
    }
  }
}

void fold_norm(Context&, float eps, bool depthwise, const Tensor& w, const Tensor& gamma, const Tensor& beta,
               const Tensor& mean, const Tensor& var, Tensor& w_out, Tensor& bias) {
  const int64_t channels = gamma.numel(), per_filter = w.numel() / channels;
  auto factor = [&](int64_t k) { return in(gamma)[k] / std::sqrt(in(var)[k] + double(eps)); };
  for (int64_t i = 0; i < w.numel(); ++i) {
    out(w_out)[i] = in(w)[i] * factor(depthwise ? i % channels : i / per_filter);
  }
  for (int64_t k = 0; k < channels; ++k) out(bias)[k] = in(beta)[k] - in(mean)[k] * factor(k);
}

}  // namespace coss::reference
