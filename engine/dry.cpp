// The dry backend: tensors have addresses but no memory behind them, and every kernel is empty. A step on it takes
// milliseconds and leaves in the pool's counters what the step would take elsewhere.
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

constexpr Kernels make_table() {
  Kernels table{};
#define KERNEL(name, args) table.name = nothing;
#include "engine/kernels.def"
#undef KERNEL
  table.allocate = reserve_addresses;
  return table;
}

}  // namespace

constinit const Kernels dry_kernels = make_table();

}  // namespace coss
