// The table of kernels: kernels.def expanded into declarations for each backend and into one struct of pointers.
#pragma once
#include "engine/context.h"
#include "engine/kernel_params.h"
#include "engine/tensor.h"

namespace coss {

#define KERNEL(name, args) void name args;
namespace cpu {
#include "engine/kernels.def"
}
namespace cuda {
#include "engine/kernels.def"
}
namespace reference {
#include "engine/kernels.def"
}
#undef KERNEL

struct Kernels {
#define KERNEL(name, args) void(*name) args;
#include "engine/kernels.def"
#undef KERNEL
};

// The table of a backend. Throws Error when this build does not have it.
const Kernels& kernels(Device device);
inline const Kernels& kernels(const Tensor& tensor) { return kernels(tensor.device()); }
// Throws Error in one line when the device cannot be used: not in this build, no GPU, a driver that is too old.
void require(Device device);
bool is_usable(Device device);

// While it lives, convolutions and matrix products on Device::dry also make the plans that the processor would need. So
// a step on the dry device throws what the same step would throw on the processor.
class PlanScope {
 public:
  PlanScope() { context(Device::cpu).set_plans_only(true); }
  ~PlanScope() { context(Device::cpu).set_plans_only(false); }
  PlanScope(const PlanScope&) = delete;
  PlanScope& operator=(const PlanScope&) = delete;
};

// Multiply-accumulates of all convolutions, matrix products and attentions that this thread has launched on Device::dry
// so far. The difference of two calls counts the work between them. Other devices do not count.
int64_t dry_macs();

// Adds a backend that the engine does not link itself (the tests' reference). The table must outlive the process.
void register_backend(Device device, const Kernels* table);

}  // namespace coss
