// The dry backend: tensors have addresses but no memory behind them, and kernels compute nothing. A step on it takes
// milliseconds, and the pool's counters then tell how much memory the step needs elsewhere. Kernels that multiply count
// their multiplications; in a PlanScope they also make the processor's plans.
#include <algorithm>
#include <atomic>

#include "engine/kernels.h"

namespace coss {

extern const Kernels dry_kernels;

namespace {

constinit thread_local int64_t macs = 0;

template <class... Args>
void nothing(Args...) {}

// Addresses are never reused and never read.
void reserve_addresses(size_t bytes, void** pointer) {
  constexpr uintptr_t kFirst = 4096;
  static std::atomic<uintptr_t> next{kFirst};
  *pointer = reinterpret_cast<void*>(next.fetch_add(bytes, std::memory_order_relaxed));
}

// The processor's context in a PlanScope, else null.
Context* planner() {
  Context& processor = context(Device::cpu);
  return processor.plans_only() ? &processor : nullptr;
}

// Each output value needs one filter; forward, dgrad and wgrad have the same number of multiplications.
void count_convolution(const Tensor& w, const Tensor& y) { macs += y.numel() * (w.numel() / y.shape().back()); }

void matmul(Context&, const MatmulParams& p, const Tensor& a, const Tensor& b, const Tensor& bias, Tensor& y) {
  const int64_t columns = a.shape().back(), rows = a.numel() / std::max<int64_t>(columns, 1);
  macs += y.numel() * (p.transpose_a ? rows : columns);
  if (Context* cpu = planner()) cpu::matmul(*cpu, p, a, b, bias, y);
}

void conv2d_forward(Context&, const ConvParams& p, const Tensor& x, const Tensor& w, Tensor& y) {
  count_convolution(w, y);
  if (Context* cpu = planner()) cpu::conv2d_forward(*cpu, p, x, w, y);
}

void conv2d_bias_act(Context&, const ConvParams& p, Activation act, const Tensor& x, const Tensor& w,
                     const Tensor& bias, const Tensor& residual, Tensor& y) {
  count_convolution(w, y);
  if (Context* cpu = planner()) cpu::conv2d_bias_act(*cpu, p, act, x, w, bias, residual, y);
}

void conv2d_dgrad(Context&, const ConvParams& p, const Tensor& w, const Tensor& dy, Tensor& dx) {
  count_convolution(w, dy);
  if (Context* cpu = planner()) cpu::conv2d_dgrad(*cpu, p, w, dy, dx);
}

void conv2d_wgrad(Context&, const ConvParams& p, const Tensor& x, const Tensor& dy, float beta, Tensor& dw) {
  count_convolution(dw, dy);
  if (Context* cpu = planner()) cpu::conv2d_wgrad(*cpu, p, x, dy, beta, dw);
}

// Products of queries with keys, and of the softmax with values: each value of y needs a sum over all tokens in both.
void attention_forward(Context&, const AttentionParams&, const Tensor& qkv, Tensor& y, Tensor&) {
  macs += 2 * y.numel() * qkv.shape()[1];
}

// The products of queries with keys again, and the gradients of softmax, values, queries and keys.
void attention_backward(Context&, const AttentionParams&, const Tensor& qkv, const Tensor& y, const Tensor&,
                        const Tensor&, Tensor&) {
  macs += 5 * y.numel() * qkv.shape()[1];
}

constexpr Kernels make_table() {
  Kernels table{};
#define KERNEL(name, args) table.name = nothing;
#include "engine/kernels.def"
#undef KERNEL
  table.allocate = reserve_addresses;
  table.matmul = matmul;
  table.conv2d_forward = conv2d_forward;
  table.conv2d_bias_act = conv2d_bias_act;
  table.conv2d_dgrad = conv2d_dgrad;
  table.conv2d_wgrad = conv2d_wgrad;
  table.attention_forward = attention_forward;
  table.attention_backward = attention_backward;
  return table;
}

}  // namespace

int64_t dry_macs() { return macs; }

constinit const Kernels dry_kernels = make_table();

}  // namespace coss
