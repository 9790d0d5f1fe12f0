// The main function of every test program. COSS_LIST_KERNELS=FILE lists the CUDA kernels that have run on the
// processor.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

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
  const int result = RUN_ALL_TESTS();
#ifdef COSS_CUDA_HOST
  if (const char* list = std::getenv("COSS_LIST_KERNELS")) std::ofstream(list) << coss::cuda::host::kernels_run();
#endif
  return result;
}
