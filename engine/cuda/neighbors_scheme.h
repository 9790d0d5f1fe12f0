// How topk_inner divides its work. The kernel uses the defaults; tests use small numbers, so that every border is
// crossed.
#pragma once
#include "engine/context.h"
#include "engine/tensor.h"

namespace coss::cuda {

struct NeighborScheme {
  int64_t pass_rows = 8192;     // queries whose candidates are held at once: 64 KiB each
  int64_t group_rows = 2048;    // queries of one matrix product; with tile_keys, 32 MiB of scores: they stay in the L2
  int64_t tile_keys = 4096;     // keys of one matrix product, a multiple of 8
  int64_t keep = 0;             // candidates that a query may keep while the next tile comes; 0: chosen from k
  int64_t* doubtful = nullptr;  // receives the number of queries that were searched a second time
};

// As the line topk_inner of kernels.def says.
void topk_inner(Context& ctx, const NeighborScheme& scheme, int64_t first_query, int64_t first_key,
                const Tensor& queries, const Tensor& keys, Tensor& values, Tensor& indices);

}  // namespace coss::cuda
