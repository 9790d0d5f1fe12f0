// The main function of every test program.
#include <gtest/gtest.h>

#include "tests/support/support.h"
#ifdef COSS_CUDA_HOST
#include "engine/cuda/host/device.h"
#endif

namespace coss {
extern const Kernels cuda_kernels;
}

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  coss::test::register_reference_backend();
#ifdef COSS_CUDA_HOST
  coss::register_backend(coss::Device::cuda, &coss::cuda_kernels);
#endif
  return RUN_ALL_TESTS();
}
