// The third backend: every line of kernels.def as naive loops in double. The other two are compared with it.
#include "engine/kernels.h"
#include "tests/support/support.h"

namespace coss {

namespace {
const Kernels reference_kernels = {
#define KERNEL(name, args) reference::name,
#include "engine/kernels.def"
#undef KERNEL
};
}  // namespace

void test::register_reference_backend() { register_backend(Device::reference, &reference_kernels); }

}  // namespace coss
