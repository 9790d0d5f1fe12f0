// The dry backend: tensors have addresses but no memory behind them, and every kernel is empty. A step on it takes
// milliseconds, and the pool's counters then tell how much memory the step needs elsewhere. In a PlanScope it also
// makes the processor's plans.
#include <atomic>

#include "engine/kernels.h"

namespace coss {

extern const Kernels dry_kernels;

namespace {

template <class... Args>
void nothing(Args...) {}

// Addresses are never reused and never read.
void reserve_addresses(size_t bytes, void** pointer) {
  constexpr uintptr_t kFirst = 4096;
  static std::atomic<uintptr_t> next{kFirst};
  *pointer = reinterpret_cast<void*>(next.fetch_add(bytes, std::memory_order_relaxed));
}

template <auto kKernel>
struct Planned;
template <class... Args, void (*kKernel)(Context&, Args...)>
struct Planned<kKernel> {
  static void run(Context&, Args... args) {
    Context& processor = context(Device::cpu);
    if (processor.plans_only()) kKernel(processor, args...);
  }
};

constexpr Kernels make_table() {
  Kernels table{};
#define KERNEL(name, args) table.name = nothing;
#include "engine/kernels.def"
#undef KERNEL
  table.allocate = reserve_addresses;
  table.matmul = Planned<cpu::matmul>::run;
  table.conv2d_forward = Planned<cpu::conv2d_forward>::run;
  table.conv2d_bias_act = Planned<cpu::conv2d_bias_act>::run;
  table.conv2d_dgrad = Planned<cpu::conv2d_dgrad>::run;
  table.conv2d_wgrad = Planned<cpu::conv2d_wgrad>::run;
  return table;
}

}  // namespace

constinit const Kernels dry_kernels = make_table();

}  // namespace coss
