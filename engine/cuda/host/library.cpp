// Dense convolutions and matrix products, which are the libraries' work on a GPU. Here the CPU backend does them, so
// that whole training steps run in the host-run build. f16 is converted to f32, because oneDNN on the processor does
// not compute in f16.
#include "engine/cuda/attention.h"
#include "engine/cuda/launch.h"
#include "engine/cuda/library/dense_conv.h"
#include "engine/kernels.h"

namespace coss::cuda {
namespace {

Context& processor() { return context(Device::cpu); }

Tensor widened(const Tensor& x) {
  if (x.empty() || x.dtype() != DType::f16) return x;
  Tensor wide(x.shape(), DType::f32, Device::cpu);
  cpu::cast(processor(), x, wide);
  return wide;
}

// Calls work(y) on y, or on an f32 copy of it, which is then rounded to y.
template <class Work>
void on_wide(Tensor y, Work&& work) {
  if (y.dtype() != DType::f16) return work(y);
  Tensor wide = widened(y);
  work(wide);
  cpu::cast(processor(), wide, y);
}

}  // namespace

void dense_forward(Context&, const ConvParams& p, const Tensor& x, const Tensor& w, Tensor& y) {
  host::run_or_record(
      [=] { on_wide(y, [&](Tensor& out) { cpu::conv2d_forward(processor(), p, widened(x), widened(w), out); }); });
}

void dense_bias_act(Context&, const ConvParams& p, Activation activation, const Tensor& x, const Tensor& w,
                    const Tensor& bias, const Tensor& residual, Tensor& y) {
  host::run_or_record([=] {
    on_wide(y, [&](Tensor& out) {
      cpu::conv2d_bias_act(processor(), p, activation, widened(x), widened(w), bias, widened(residual), out);
    });
  });
}

void dense_dgrad(Context&, const ConvParams& p, const Tensor& w, const Tensor& dy, Tensor& dx) {
  host::run_or_record(
      [=] { on_wide(dx, [&](Tensor& out) { cpu::conv2d_dgrad(processor(), p, widened(w), widened(dy), out); }); });
}

void dense_wgrad(Context&, const ConvParams& p, const Tensor& x, const Tensor& dy, float beta, Tensor& dw) {
  host::run_or_record(
      [=, target = dw]() mutable { cpu::conv2d_wgrad(processor(), p, widened(x), widened(dy), beta, target); });
}

void matmul(Context&, const MatmulParams& p, const Tensor& a, const Tensor& b, const Tensor& bias, Tensor& y) {
  host::run_or_record(
      [=] { on_wide(y, [&](Tensor& out) { cpu::matmul(processor(), p, widened(a), widened(b), bias, out); }); });
}

// The own kernels always run, because they are what is tested here.
bool library_attention_forward(Context&, const AttentionShape&, const Tensor&, Tensor&, Tensor&) { return false; }
bool library_attention_backward(Context&, const AttentionShape&, const Tensor&, const Tensor&, const Tensor&,
                                const Tensor&, Tensor&) {
  return false;
}

}  // namespace coss::cuda
