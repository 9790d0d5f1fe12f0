// The CPU backend's table of kernels: one pointer per line of kernels.def.
#include "engine/kernels.h"

namespace coss {

extern const Kernels cpu_kernels;

const Kernels cpu_kernels = {
#define KERNEL(name, args) .name = cpu::name,
#include "engine/kernels.def"
#undef KERNEL
};

}  // namespace coss
