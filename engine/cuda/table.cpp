// The CUDA backend's table of kernels: one pointer per line of kernels.def.
#include "engine/kernels.h"

namespace coss {

extern const Kernels cuda_kernels;

const Kernels cuda_kernels = {
#define KERNEL(name, args) .name = cuda::name,
#include "engine/kernels.def"
#undef KERNEL
};

}  // namespace coss
