// How the host code of this backend reaches the device: one launch function, and bytes copied or zeroed in stream
// order. The same sources compile as plain C++ (COSS_CUDA_HOST): then host/device.h replaces the language, and launch()
// runs the grid on the processor, with a block's threads as fibers. So these kernels are tested without a GPU.
#pragma once
#include <type_traits>

#include "engine/context.h"

#ifdef COSS_CUDA_HOST
#include "engine/cuda/host/device.h"
#else
#include <cuda_runtime.h>

#include "engine/cuda/library/state.h"
#endif

namespace coss::cuda {

// Where a kernel runs. `name` must be a literal: traces and errors show it.
struct Grid {
  const char* name;
  dim3 blocks, threads;
  size_t shared = 0;  // bytes of dynamic shared memory
};

// Blocks of `per_block` items that cover n; at least one.
inline unsigned blocks_for(int64_t n, int64_t per_block) {
  return unsigned(n <= per_block ? 1 : (n + per_block - 1) / per_block);
}

// The number of multiprocessors of the device. Kernels whose blocks loop over the work start a small multiple of it.
int multiprocessors(Context& ctx);
// memset and memcpy between device addresses, in stream order.
void zero_bytes(Context& ctx, void* y, size_t bytes);
void copy_bytes(Context& ctx, const void* x, void* y, size_t bytes);

#ifdef COSS_CUDA_HOST

template <class... P>
void launch(Context&, const Grid& grid, void (*kernel)(P...), std::type_identity_t<P>... arguments) {
  host::count_launch(reinterpret_cast<const void*>(kernel));
  host::run_or_record(
      [=] { host::run_grid(grid.name, grid.blocks, grid.threads, grid.shared, [&] { kernel(arguments...); }); });
}

#else

template <class... P>
void launch(Context& ctx, const Grid& grid, void (*kernel)(P...), std::type_identity_t<P>... arguments) {
  constexpr size_t kSharedByDefault = 32 << 10;  // of 48 KB; the kernel's static arrays may take the rest
  if (grid.shared > kSharedByDefault)
    COSS_CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(grid.shared)));
  cudaLaunchConfig_t config{};
  config.gridDim = grid.blocks;
  config.blockDim = grid.threads;
  config.dynamicSmemBytes = grid.shared;
  config.stream = ctx.state<State>().stream();
  check_cuda(cudaLaunchKernelEx(&config, kernel, arguments...), grid.name, __FILE__, __LINE__);
}

#endif

}  // namespace coss::cuda
