// Batch norm + residual add + activation as one operation, forward and backward in two passes over memory each, and
// the folding of a frozen norm into convolution weights.
#include "engine/cpu/activation.h"
#include "engine/cpu/columns.h"
#include "engine/cpu/nontemporal.h"
#include "engine/dispatch.h"
#include "engine/kernels.h"

namespace coss::cpu {

namespace {

// Calls body(i, c, n) for every vector of the matrix; i is the element, c the wide column.
template <class Body>
void for_each_vector(const WideRows& wide, int parts, Body&& body) {
  parallel_parts(wide.rows, 1, parts, [&](int, int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
      for (int64_t c = 0; c < wide.width; c += kLanes) body(row * wide.width + c, c, Whole{});
    stream_fence();
  });
  const int64_t tail = wide.rows * wide.width;
  for_vectors(0, wide.elements - tail, [&](int64_t c, auto n) { body(tail + c, c, n); });
}

inline void put_bits(uint8_t* mask, int64_t i, LaneBits bits, int64_t n) {
  std::memcpy(mask + i / 8, &bits, size_t(n + 7) / 8);
}
inline LaneBits get_bits(const uint8_t* mask, int64_t i, int64_t n) {
  LaneBits bits = 0;
  std::memcpy(&bits, mask + i / 8, size_t(n + 7) / 8);
  return bits;
}

// The mean of 64 rows spread over x. With this shift, sums of (x - shift) and its square lose no digits when the mean
// is far from zero.
template <class T>
void sample_mean(const T* x, int64_t rows, int64_t columns, float* shift) {
  const int64_t samples = std::min<int64_t>(rows, 64);
  std::fill_n(shift, columns, 0.0f);
  for (int64_t s = 0; s < samples; ++s) {
    const T* row = x + s * rows / samples * columns;
    for_vectors(0, columns, [&](int64_t c, auto n) {
      put(shift + c, get(shift + c, n) + get(row + c, n) * (1.0f / float(samples)), n);
    });
  }
}

template <class T, Activation kAct, bool kResidual>
void normalize(const WideRows& wide, int parts, const T* x, const T* residual, const float* factor, const float* offset,
               T* y, uint8_t* mask, bool streaming) {
  for_each_vector(wide, parts, [=](int64_t i, int64_t c, auto n) {
    Vec z = get(x + i, n) * load(factor + c) + load(offset + c);
    if constexpr (kResidual) z += get(residual + i, n);
    if constexpr (kAct != Activation::none && clips(kAct))
      put_bits(mask, i, passes_gradient<kAct>(z) & first_lanes(n), n);
    put_or_stream(y + i, activated<kAct>(z), n, streaming);
  });
}

// What the backward of norm_act reads and writes, as in kernels.def; mask and dresidual may be null.
template <class T>
struct Gradients {
  const T* x;
  const uint8_t* mask;
  const float *gamma, *beta, *mean, *rstd;
  const T* dy;
  T *dx, *dresidual;
  float *dgamma, *dbeta;
  bool streaming;
};

// kAct is none; relu for all activations that have a mask; else the activation, whose slope is taken at gamma * (x -
// mean) * rstd + beta.
template <Activation kAct, class T>
void backward(const WideRows& wide, int parts, Scratch& scratch, const Gradients<T>& g) {
  const int64_t columns = wide.columns, rows = wide.elements / columns;
  float* values = scratch.take<float>(3 * columns);
  float* center = scratch.take<float>(wide.width);  // wide copies of the values of each channel
  float* of_dz = scratch.take<float>(wide.width);
  float* of_x = scratch.take<float>(wide.width);
  float* constant = scratch.take<float>(wide.width);
  float* factor = scratch.take<float>(wide.width);
  float* offset = scratch.take<float>(wide.width);

  wide.spread(g.mean, center);
  if constexpr (!clips(kAct)) {  // as forward computes them
    for (int64_t c = 0; c < columns; ++c) {
      const double scale = double(g.gamma[c]) * double(g.rstd[c]);
      values[c] = float(scale);
      values[columns + c] = float(double(g.beta[c]) - double(g.mean[c]) * scale);
    }
    wide.spread(values, factor);
    wide.spread(values + columns, offset);
  }
  auto before_activation = [=](int64_t i, int64_t c, auto n) {
    const Vec dz = get(g.dy + i, n);
    if constexpr (!clips(kAct))
      return dz * slope<kAct>(get(g.x + i, n) * load(factor + c) + load(offset + c));
    else if constexpr (kAct != Activation::none)
      return keep(get_bits(g.mask, i, n), dz);
    else
      return dz;
  };
  const double* sums = column_sums<2>(scratch, wide, parts, [=](int64_t i, int64_t c, auto n, Vec* terms) {
    const Vec dz = before_activation(i, c, n);
    terms[0] = dz;
    terms[1] = dz * (get(g.x + i, n) - load(center + c));
  });

  // dx = gamma * rstd * (dz - mean(dz) - xhat * mean(dz * xhat)), as dz * of_dz + x * of_x + constant
  for (int64_t c = 0; c < columns; ++c) {
    const double sum = sums[c], sum_xhat = sums[columns + c] * double(g.rstd[c]);
    g.dbeta[c] += float(sum);
    g.dgamma[c] += float(sum_xhat);
    const double scale = double(g.gamma[c]) * double(g.rstd[c]);
    values[c] = float(scale);
    const double slope = -scale * double(g.rstd[c]) * sum_xhat / double(rows);
    values[columns + c] = float(slope);
    values[2 * columns + c] = float(-scale * sum / double(rows) - slope * double(g.mean[c]));
  }
  wide.spread(values, of_dz);
  wide.spread(values + columns, of_x);
  wide.spread(values + 2 * columns, constant);

  for_each_vector(wide, parts, [=](int64_t i, int64_t c, auto n) {
    const Vec dz = before_activation(i, c, n);
    if (g.dresidual) put_or_stream(g.dresidual + i, dz, n, g.streaming);
    const Vec value = dz * load(of_dz + c) + (get(g.x + i, n) * load(of_x + c) + load(constant + c));
    put_or_stream(g.dx + i, value, n, g.streaming);
  });
}

}  // namespace

void norm_act_forward(Context& ctx, const NormParams& p, const Tensor& x, const Tensor& gamma, const Tensor& beta,
                      const Tensor& residual, Tensor& running_mean, Tensor& running_var, Tensor& y, Tensor& mean,
                      Tensor& rstd, Tensor& mask) {
  const int64_t columns = x.shape().back(), rows = x.shape().rows();
  COSS_ASSERT(rows != 1);
  if (rows == 0) return;
  COSS_ASSERT(p.activation == Activation::none || !clips(p.activation) || mask.numel() >= (x.numel() + 7) / 8);
  COSS_ASSERT(clips(p.activation) || residual.empty());
  const WideRows wide(rows, columns);
  const int parts = threads_for(int64_t(x.bytes()));
  Scratch scratch(
      ctx, column_sums_bytes<2>(wide) + 3 * Scratch::size_of<float>(columns) + 3 * Scratch::size_of<float>(wide.width));
  float* shift = scratch.take<float>(columns);
  float* factor = scratch.take<float>(columns);
  float* offset = scratch.take<float>(columns);
  float* wide_shift = scratch.take<float>(wide.width);
  float* wide_factor = scratch.take<float>(wide.width);
  float* wide_offset = scratch.take<float>(wide.width);

  const double* sums = nullptr;
  dispatch("norm_act", x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    sample_mean(in, rows, columns, shift);
    wide.spread(shift, wide_shift);
    sums = column_sums<2>(scratch, wide, parts, [=](int64_t i, int64_t c, auto n, Vec* terms) {
      terms[0] = get(in + i, n) - load(wide_shift + c);
      terms[1] = terms[0] * terms[0];
    });
  });

  float* mean_out = mean.mutable_data<float>();
  float* rstd_out = rstd.mutable_data<float>();
  float* run_mean = running_mean.mutable_data<float>();
  float* run_var = running_var.mutable_data<float>();
  const float* scales = gamma.data<float>();
  const float* shifts = beta.data<float>();
  for (int64_t c = 0; c < columns; ++c) {
    const double count = double(rows), delta = sums[c] / count;
    const double center = double(shift[c]) + delta;
    const double spread = sums[columns + c] / count - delta * delta;
    const double var = spread < 0 ? 0 : spread;  // keeps NaN
    const double inverse = 1 / std::sqrt(var + double(p.eps));
    mean_out[c] = float(center);
    rstd_out[c] = float(inverse);
    run_mean[c] += p.momentum * float(center - double(run_mean[c]));
    run_var[c] += p.momentum * float(var * count / (count - 1) - double(run_var[c]));
    factor[c] = float(double(scales[c]) * inverse);
    offset[c] = float(double(shifts[c]) - center * double(scales[c]) * inverse);
  }
  wide.spread(factor, wide_factor);
  wide.spread(offset, wide_offset);

  const bool streaming = worth_streaming(y);
  dispatch("norm_act", x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    const T* add = residual.empty() ? nullptr : residual.data<T>();
    T* out = y.mutable_data<T>();
    uint8_t* bits = mask.empty() ? nullptr : mask.mutable_data<uint8_t>();
    dispatch_fused(p.activation, [&]<Activation kAct>() {
      if (clips(kAct) && add)
        normalize<T, kAct, clips(kAct)>(wide, parts, in, add, wide_factor, wide_offset, out, bits, streaming);
      else
        normalize<T, kAct, false>(wide, parts, in, add, wide_factor, wide_offset, out, bits, streaming);
    });
  });
}

void norm_act_backward(Context& ctx, const NormParams& p, const Tensor& x, const Tensor& mask, const Tensor& gamma,
                       const Tensor& beta, const Tensor& mean, const Tensor& rstd, const Tensor& dy, Tensor& dx,
                       Tensor& dresidual, Tensor& dgamma, Tensor& dbeta) {
  const int64_t columns = x.shape().back();
  if (x.numel() == 0) return;
  const WideRows wide(x.shape().rows(), columns);
  const int parts = threads_for(int64_t(x.bytes()));
  Scratch scratch(
      ctx, column_sums_bytes<2>(wide) + Scratch::size_of<float>(3 * columns) + 6 * Scratch::size_of<float>(wide.width));
  dispatch("norm_act", x.dtype(), [&]<class T>() {
    auto run = [&]<Activation kAct>() {
      const Gradients<T> gradients{.x = x.data<T>(),
                                   .mask = mask.empty() ? nullptr : mask.data<uint8_t>(),
                                   .gamma = gamma.data<float>(),
                                   .beta = beta.data<float>(),
                                   .mean = mean.data<float>(),
                                   .rstd = rstd.data<float>(),
                                   .dy = dy.data<T>(),
                                   .dx = dx.mutable_data<T>(),
                                   .dresidual = dresidual.empty() ? nullptr : dresidual.mutable_data<T>(),
                                   .dgamma = dgamma.mutable_data<float>(),
                                   .dbeta = dbeta.mutable_data<float>(),
                                   .streaming = worth_streaming(dx)};
      backward<kAct>(wide, parts, scratch, gradients);
    };
    dispatch_fused(p.activation, [&]<Activation kAct>() {
      run.template operator()<kAct == Activation::relu6 ? Activation::relu : kAct>();
    });
  });
}

void fold_norm(Context&, float eps, bool depthwise, const Tensor& w, const Tensor& gamma, const Tensor& beta,
               const Tensor& mean, const Tensor& var, Tensor& w_out, Tensor& bias) {
  const int64_t channels = gamma.numel();
  auto factor = [&](int64_t c) { return gamma.data<float>()[c] / std::sqrt(var.data<float>()[c] + eps); };
  float* bias_out = bias.mutable_data<float>();
  for (int64_t c = 0; c < channels; ++c) bias_out[c] = beta.data<float>()[c] - mean.data<float>()[c] * factor(c);
  dispatch("fold_norm", w.dtype(), w_out.dtype(), [&]<class X, class Y>() {
    const X* in = w.data<X>();
    Y* out = w_out.mutable_data<Y>();
    // Dense weights have the output channel first, depthwise ones last.
    const int64_t per_channel = depthwise ? 1 : w.numel() / channels;
    for (int64_t i = 0; i < w.numel(); ++i) out[i] = Y(float(in[i]) * factor(i / per_channel % channels));
  });
}

}  // namespace coss::cpu
