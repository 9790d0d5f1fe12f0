// Exact nearest neighbors by inner product, and the vote of the weighted kNN classifier.
//
// Scores of all pairs come from bf16 matrix products, which run at the tensor cores' full rate; their error is bounded
// per query, so that only the few keys that may be among the best k are kept (neighbors_candidates.h) and scored again
// in f32. A query with more near-ties than there is space for is called doubtful and searched again, with f32 scores
// for all keys. Both ways add in the same order, so the result depends on queries and keys only, not on the way or on
// the blocks of keys.
//
// Cost of all pairs of n rows, D wide: 2 n^2 D operations of the tensor cores (8.5 s for n = 1.28 M, D = 2048), 4 n^2
// bytes of scores written and read within the L2, n times the candidates (1 to 2 k) times 4 D bytes read from memory.
#include <algorithm>
#include <bit>

#include "engine/cuda/neighbors_candidates.h"
#include "engine/cuda/neighbors_scheme.h"
#include "engine/kernels.h"

namespace coss::cuda {
namespace {

constexpr int kRowsPerBlock = kSearchThreads / kWarp;  // in kernels with a warp per row
constexpr int kMostNeighbors = 8192;

// --- rounding ------------------------------------------------------------------------------------------------------

__device__ void raise(uint32_t* greatest, float value) {  // value >= 0 or NaN, whose bits are above infinity's
  const uint32_t bits = __float_as_uint(value);
  if (bits > *greatest) atomicMax(greatest, bits);
}

// Rounds rows to bf16, `width` wide and padded with zeros, up to padded_rows. Writes the norm and the rounding loss of
// each row, or the greatest of all to bounds. A warp per row; 6 bytes per element.
template <bool kAligned>
__global__ void __launch_bounds__(kSearchThreads)
    round_rows(const float* x, int64_t rows, int64_t padded_rows, int depth, int width, bf16* y, float* norm,
               float* lost, uint32_t* bounds) {
  const int64_t row = int64_t(blockIdx.x) * kRowsPerBlock + threadIdx.x / kWarp;
  const int lane = int(threadIdx.x) % kWarp;
  if (row >= padded_rows) return;
  float squares = 0, lost_squares = 0;
  for (int d = lane * kVector; d < width; d += kWarp * kVector) {
    float v[kVector];
    const int n = row < rows ? depth - d : 0;
    if (kAligned && n >= kVector)
      load(x + row * depth + d, v);
    else
      load_part(x + row * depth + d, n, v);
    store(y + row * width + d, v);
    COSS_UNROLL
    for (int i = 0; i < kVector; ++i) {
      const float difference = v[i] - to_float(from_float<bf16>(v[i]));  // exact
      squares += v[i] * v[i];
      lost_squares += difference * difference;
    }
  }
  squares = warp_sum(squares);
  lost_squares = warp_sum(lost_squares);
  if (lane != 0 || row >= rows) return;
  const float up = 1.0001f + float(depth) * 0x1p-24f;  // covers what the sums can have lost
  if (bounds) {
    raise(bounds, sqrtf(squares) * up);
    raise(bounds + 1, sqrtf(lost_squares) * up);
  } else {
    norm[row] = sqrtf(squares) * up;
    lost[row] = sqrtf(lost_squares) * up;
  }
}

// --- scores in f32 -------------------------------------------------------------------------------------------------
// The order of summation: lane l of a warp adds elements 4 l .. 4 l + 3 of every 128 in turn, then the lanes' sums are
// added as in warp_sum.

constexpr int kStep = 4 * kWarp;

template <bool kAligned>
__device__ void load_four(const float* p, int n, float (&out)[4]) {
  if constexpr (kAligned)
    load(p, out);  // whole fours: depth is a multiple of 4
  else
    load_part(p, n, out);
}

// Replaces the rounded scores of a row's candidates by exact ones. A block per row, a warp per candidate, 4 * depth
// bytes each.
template <bool kAligned>
__global__ void __launch_bounds__(kSearchThreads)
    rescore(Search s, const float* queries, const float* keys, int64_t first_key) {
  const int64_t row = blockIdx.x;
  const int lane = int(threadIdx.x) % kWarp;
  const int n = s.count[row];
  const float* query = queries + row * s.depth;
  for (int c = int(threadIdx.x) / kWarp; c < n; c += kRowsPerBlock) {
    uint64_t* item = s.items + row * s.capacity + c;
    const int32_t index = index_of(*item);
    const float* key = keys + (index - first_key) * s.depth;
    float sum = 0;
    int d = 4 * lane;
    for (; d + 3 * kStep < s.depth; d += 4 * kStep) {  // many loads at once
      float q[4][4], x[4][4];
      COSS_UNROLL
      for (int part = 0; part < 4; ++part) {
        load_four<kAligned>(key + d + part * kStep, s.depth - d - part * kStep, x[part]);
        load_four<kAligned>(query + d + part * kStep, s.depth - d - part * kStep, q[part]);
      }
      COSS_UNROLL
      for (int part = 0; part < 4; ++part) {
        COSS_UNROLL
        for (int i = 0; i < 4; ++i) sum = fmaf(q[part][i], x[part][i], sum);
      }
    }
    for (; d < s.depth; d += kStep) {
      float q[4], x[4];
      load_four<kAligned>(key + d, s.depth - d, x);
      load_four<kAligned>(query + d, s.depth - d, q);
      COSS_UNROLL
      for (int i = 0; i < 4; ++i) sum = fmaf(q[i], x[i], sum);
    }
    sum = warp_sum(sum);
    if (lane == 0) *item = sum >= kLowestScore ? pack(sum, index) : 0;
  }
}

constexpr int kPatch = 8;      // a warp scores 8 queries with 8 keys
constexpr int kTileWarps = 4;  // a block scores 16 with 16
constexpr int kBlockPatch = 2 * kPatch;

// One step of warp_sum for kCount values at once: each lane keeps half of them, which needs half the shuffles.
template <int kCount, int kTotal>
__device__ void fold_lanes(float (&sum)[kTotal], int lane) {
  constexpr int kLanes = kCount / 4;  // for 64 values, lanes 16 apart exchange first
  constexpr int kHalf = kCount / 2;
  const bool upper = lane & kLanes;
  COSS_UNROLL
  for (int i = 0; i < kHalf; ++i) {
    const float keep = upper ? sum[i + kHalf] : sum[i], give = upper ? sum[i] : sum[i + kHalf];
    sum[i] = keep + __shfl_xor_sync(kAllLanes, give, kLanes);
  }
  if constexpr (kLanes > 1) fold_lanes<kHalf>(sum, lane);
}

// scores (rows, stride): scores of the listed queries with all keys of a tile. A lane holds its share of 64 sums and
// needs 16 loads of 16 bytes for 256 multiply-adds, which balances the rates of the L1 cache and of f32.
template <bool kAligned>
__global__ void __launch_bounds__(kTileWarps* kWarp)
    score_tile(const float* queries, const int32_t* list, int rows, const float* keys, int width, int depth,
               float* scores, int64_t stride) {
  const int warp = int(threadIdx.x) / kWarp, lane = int(threadIdx.x) % kWarp;
  const int first_row = int(blockIdx.y) * kBlockPatch + warp / 2 * kPatch;
  const int first_key = int(blockIdx.x) * kBlockPatch + warp % 2 * kPatch;
  if (first_row >= rows || first_key >= width) return;
  const float *query[kPatch], *key[kPatch];  // beyond the last one: the last one again
  COSS_UNROLL
  for (int i = 0; i < kPatch; ++i) {
    query[i] = queries + int64_t(list[min(first_row + i, rows - 1)]) * depth;
    key[i] = keys + int64_t(min(first_key + i, width - 1)) * depth;
  }
  float sum[kPatch * kPatch];
  COSS_UNROLL
  for (int i = 0; i < kPatch * kPatch; ++i) sum[i] = 0;
  for (int d = 4 * lane; d < depth; d += kStep) {
    float q[kPatch][4];
    COSS_UNROLL
    for (int i = 0; i < kPatch; ++i) load_four<kAligned>(query[i] + d, depth - d, q[i]);
    COSS_UNROLL
    for (int j = 0; j < kPatch; ++j) {
      float x[4];
      load_four<kAligned>(key[j] + d, depth - d, x);
      COSS_UNROLL
      for (int i = 0; i < kPatch; ++i) {
        COSS_UNROLL
        for (int e = 0; e < 4; ++e) sum[i * kPatch + j] = fmaf(q[i][e], x[e], sum[i * kPatch + j]);
      }
    }
  }
  fold_lanes<kPatch * kPatch>(sum, lane);
  // Lane l has the sums 2 l and 2 l + 1.
  const int row = first_row + lane / 4, column = first_key + lane % 4 * 2;
  COSS_UNROLL
  for (int i = 0; i < 2; ++i)
    if (row < rows && column + i < width) scores[row * stride + column + i] = sum[i];
}

// --- candidates ----------------------------------------------------------------------------------------------------

constexpr int kLoads = 4;  // loads of 4 scores that a thread has in flight

// Adds the scores of one tile that may be among a row's best k. A block per row of the group; 4 bytes per score.
// The row is list[first + i], or first + i without a list; stride is a multiple of 4; columns from width on are unused.
template <bool kExact>
__global__ void __launch_bounds__(kSearchThreads)
    collect(Search s, const int32_t* list, int64_t first, const float* scores, int64_t stride, int width,
            int32_t first_key) {
  COSS_DYNAMIC_SHARED(uint32_t, words);
  COSS_SHARED(int, total, 1);
  const int64_t row = list ? int64_t(list[first + blockIdx.x]) : first + blockIdx.x;
  if (threadIdx.x == 0) total[0] = s.count[row];
  __syncthreads();
  if (total[0] < 0) return;

  uint64_t cut;
  if constexpr (kExact) {
    cut = exact_cut(s, row, s.best[row]) + 1;
  } else {
    const float error = error_bound(s, row);
    if (!(error < __uint_as_float(0x7f800000u))) {  // a query or a key is not finite
      if (threadIdx.x == 0) s.count[row] = -1;
      return;
    }
    cut = rounded_cut(s, row, s.best[row], error);
  }
  const float least = score_of(cut);
  const int64_t self = s.first_query < 0 ? -1 : s.first_query + row;
  const float* from = scores + int64_t(blockIdx.x) * stride;
  uint64_t* items = s.items + row * s.capacity;
  __syncthreads();  // all threads have read total

  for (int begin = 0; begin < width; begin += kSearchThreads * 4 * kLoads) {
    float v[kLoads][4];
    COSS_UNROLL
    for (int part = 0; part < kLoads; ++part) {
      const int column = begin + (part * kSearchThreads + int(threadIdx.x)) * 4;
      COSS_UNROLL
      for (int i = 0; i < 4; ++i) v[part][i] = __uint_as_float(0x7fc00000u);
      if (column < width) load(from + column, v[part]);
    }
    unsigned hits = 0;
    COSS_UNROLL
    for (int part = 0; part < kLoads; ++part) {
      COSS_UNROLL
      for (int i = 0; i < 4; ++i) hits |= unsigned(v[part][i] >= least) << (part * 4 + i);
    }
    if (!__any_sync(kAllLanes, hits != 0)) continue;
    COSS_UNROLL
    for (int part = 0; part < kLoads; ++part) {
      COSS_UNROLL
      for (int i = 0; i < 4; ++i) {
        const int column = begin + (part * kSearchThreads + int(threadIdx.x)) * 4 + i;
        const int32_t index = first_key + column;
        if (column >= width || index == self || pack(v[part][i], index) < cut) hits &= ~(1u << (part * 4 + i));
      }
    }
    int place = reserve(total, __popc(hits));
    COSS_UNROLL
    for (int part = 0; part < kLoads; ++part) {
      COSS_UNROLL
      for (int i = 0; i < 4; ++i)
        if (hits >> (part * 4 + i) & 1u)
          items[place++] = pack(v[part][i], first_key + begin + (part * kSearchThreads + int(threadIdx.x)) * 4 + i);
    }
  }
  __syncthreads();
  const int n = total[0];
  __syncthreads();  // cut_back writes total
  if (n > s.keep)
    cut_back<kExact>(s, row, n, words, total);
  else if (threadIdx.x == 0)
    s.count[row] = n;
}

// Reduces the candidates as far as the bound allows, before they are scored again.
__global__ void __launch_bounds__(kSearchThreads) cut_rows(Search s) {
  COSS_DYNAMIC_SHARED(uint32_t, words);
  COSS_SHARED(int, total, 1);
  const int64_t row = blockIdx.x;
  if (threadIdx.x == 0) total[0] = s.count[row];
  __syncthreads();
  const int n = total[0];
  __syncthreads();
  if (n >= s.k) cut_back<false>(s, row, n, words, total);
}

constexpr int kSortThreads = 512;

// Writes the best k of the candidates and of the given values, in order. A block per row sorts them in shared memory,
// by a bitonic sort of the next power of two.
__global__ void __launch_bounds__(kSortThreads)
    finish_rows(Search s, const int32_t* list, int64_t first, float* values, int32_t* indices) {
  COSS_DYNAMIC_SHARED(uint64_t, items);
  const int64_t row = list ? int64_t(list[first + blockIdx.x]) : first + blockIdx.x;
  const int n = s.count[row];
  if (n < 0) return;
  int size = 1;
  while (size < n + s.k) size *= 2;
  for (int i = int(threadIdx.x); i < size; i += kSortThreads) {
    uint64_t item = 0;
    if (i < n) {
      item = s.items[row * s.capacity + i];
    } else if (i < n + s.k) {
      const int64_t given = row * s.k + (i - n);
      if (s.indices[given] >= 0) item = pack(s.values[given], s.indices[given]);
    }
    items[i] = item;
  }
  __syncthreads();
  for (int length = 2; length <= size; length *= 2) {
    for (int step = length / 2; step > 0; step /= 2) {
      for (int pair = int(threadIdx.x); pair < size / 2; pair += kSortThreads) {
        const int i = (pair & ~(step - 1)) * 2 + (pair & (step - 1));
        const uint64_t a = items[i], b = items[i + step];
        const bool descending = (i & length) == 0;
        if ((a < b) == descending) {
          items[i] = b;
          items[i + step] = a;
        }
      }
      __syncthreads();
    }
  }
  for (int i = int(threadIdx.x); i < s.k; i += kSortThreads) {
    const uint64_t item = items[i];
    values[row * s.k + i] = item ? score_of(item) : __uint_as_float(0xff800000u);
    indices[row * s.k + i] = item ? index_of(item) : -1;
  }
}

// Lists the doubtful rows: found[0] is their number, and they follow in any order, because each is searched
// independently.
__global__ void __launch_bounds__(kSearchThreads) list_doubtful(const int32_t* count, int rows, int32_t* found) {
  const int row = int(blockIdx.x) * kSearchThreads + int(threadIdx.x);
  if (row < rows && count[row] < 0) found[1 + atomicAdd(found, 1)] = row;
}

// --- one pass ------------------------------------------------------------------------------------------------------

Tensor scratch(Shape shape, DType dtype) { return Tensor(shape, dtype, Device::cuda); }
int64_t rounded_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }
bool aligned(const void* p, int64_t depth) { return depth % 4 == 0 && cuda::aligned(p); }

// Searches at most scheme.pass_rows queries at a time. Its memory comes from the pool, which keeps it for the next
// call; the workspace is used by the matrix product.
class Finder {
 public:
  Finder(Context& ctx, const NeighborScheme& scheme, int64_t rows, int64_t k, const Tensor& keys, int64_t first_key)
      : ctx_(ctx),
        keys_(keys.data<float>()),
        key_count_(keys.shape()[0]),
        first_key_(first_key),
        depth_(keys.shape()[1]),
        width_(rounded_up(depth_, kVector)),
        tile_(std::min(scheme.tile_keys, rounded_up(key_count_, kVector))),
        group_(std::min(scheme.group_rows, rows)),
        k_(k),
        keep_(scheme.keep ? scheme.keep : std::clamp<int64_t>(2 * k, 4096, 2 * kMostNeighbors - k)),
        capacity_(keep_ + tile_) {
    COSS_ASSERT(scheme.tile_keys % kVector == 0 && keep_ >= k);
    const int64_t most = std::min(rows, scheme.pass_rows);
    items_ = scratch({most, capacity_}, DType::i64);
    best_ = scratch({most}, DType::i64);
    count_ = scratch({most}, DType::i32);
    norms_ = scratch({2, most}, DType::f32);
    bounds_ = scratch({2}, DType::i32);
    found_ = scratch({most + 1}, DType::i32);
    narrow_queries_ = scratch({most, width_}, DType::bf16);
    narrow_keys_ = scratch({tile_, width_}, DType::bf16);
    scores_ = scratch({group_, tile_}, DType::f32);
  }

  // Searches, and returns how many of the queries were doubtful.
  int64_t run(int64_t first_query, int64_t rows, const float* queries, float* values, int32_t* indices) {
    Search search = begin(first_query, rows, queries, values, indices);
    for (int64_t key = 0; key < key_count_; key += tile_) rounded_tile(search, rows, key);
    launch(ctx_, {"topk_cut", unsigned(rows), kSearchThreads, cut_bytes()}, cut_rows, search);
    launch(ctx_, {"topk_rescore", unsigned(rows), kSearchThreads},
           exact_aligned(queries) ? rescore<true> : rescore<false>, search, queries, keys_, first_key_);
    finish(search, nullptr, 0, rows, values, indices);
    return search_again(search, rows, queries, values, indices);
  }

 private:
  bool exact_aligned(const float* queries) const { return aligned(queries, depth_) && aligned(keys_, depth_); }
  size_t cut_bytes() const { return size_t(capacity_) * sizeof(uint32_t); }
  int64_t width_of(int64_t key) const { return std::min(tile_, key_count_ - key); }

  Search begin(int64_t first_query, int64_t rows, const float* queries, const float* values, const int32_t* indices) {
    float* norm = norms_.mutable_data<float>();
    auto* bounds = static_cast<uint32_t*>(bounds_.mutable_raw());
    float* lost = norm + norms_.shape()[1];
    launch(ctx_, {"topk_round", blocks_for(rows, kRowsPerBlock), kSearchThreads},
           aligned(queries, depth_) ? round_rows<true> : round_rows<false>, queries, rows, rows, int(depth_),
           int(width_), narrow_queries_.mutable_data<bf16>(), norm, lost, nullptr);
    zero_bytes(ctx_, bounds, bounds_.bytes());
    const Search search{.items = static_cast<uint64_t*>(items_.mutable_raw()),
                        .count = count_.mutable_data<int32_t>(),
                        .best = static_cast<uint64_t*>(best_.mutable_raw()),
                        .norm = norm,
                        .lost = lost,
                        .bounds = bounds,
                        .values = values,
                        .indices = indices,
                        .first_query = first_query,
                        .k = int(k_),
                        .capacity = int(capacity_),
                        .keep = int(keep_),
                        .depth = int(depth_)};
    forget(search);
    return search;
  }
  void forget(const Search& search) {
    zero_bytes(ctx_, search.count, count_.bytes());
    zero_bytes(ctx_, search.best, best_.bytes());
  }

  void rounded_tile(const Search& search, int64_t rows, int64_t key) {
    const int64_t width = width_of(key), padded = rounded_up(width, kVector);
    launch(ctx_, {"topk_round", blocks_for(padded, kRowsPerBlock), kSearchThreads},
           aligned(keys_, depth_) ? round_rows<true> : round_rows<false>, keys_ + key * depth_, width, padded,
           int(depth_), int(width_), narrow_keys_.mutable_data<bf16>(), nullptr, nullptr,
           static_cast<uint32_t*>(bounds_.mutable_raw()));
    const MatmulParams product{.transpose_b = true};
    const Tensor some_keys = narrow_keys_.view(0, {padded, width_});
    for (int64_t first = 0; first < rows; first += group_) {
      const int64_t height = std::min(group_, rows - first);
      Tensor scores = scores_.view(0, {height, padded});
      matmul(ctx_, product, narrow_queries_.view(first * width_, {height, width_}), some_keys, Tensor(), scores);
      launch(ctx_, {"topk_collect", unsigned(height), kSearchThreads, cut_bytes()}, collect<false>, search, nullptr,
             first, scores.data<float>(), padded, int(width), int32_t(first_key_ + key));
    }
  }

  void finish(const Search& search, const int32_t* list, int64_t first, int64_t rows, float* values, int32_t* indices) {
    const size_t bytes = std::bit_ceil(size_t(keep_ + k_)) * sizeof(uint64_t);
    launch(ctx_, {"topk_finish", unsigned(rows), kSortThreads, bytes}, finish_rows, search, list, first, values,
           indices);
  }

  // Searches the doubtful queries again. It waits for the device, to learn how many there are.
  int64_t search_again(const Search& search, int64_t rows, const float* queries, float* values, int32_t* indices) {
    int32_t* found = found_.mutable_data<int32_t>();
    zero_bytes(ctx_, found, sizeof(int32_t));
    launch(ctx_, {"topk_list_doubtful", blocks_for(rows, kSearchThreads), kSearchThreads}, list_doubtful, search.count,
           int(rows), found);
    const int64_t doubtful = found_.view(0, {1}).to_vector<int32_t>().at(0);
    if (doubtful == 0) return 0;
    forget(search);
    float* scores = scores_.mutable_data<float>();
    for (int64_t first = 0; first < doubtful; first += group_) {
      const int64_t height = std::min(group_, doubtful - first);
      for (int64_t key = 0; key < key_count_; key += tile_) {
        const int64_t width = width_of(key);
        const dim3 blocks(blocks_for(width, kBlockPatch), blocks_for(height, kBlockPatch));
        launch(ctx_, {"topk_scores", blocks, kTileWarps * kWarp},
               exact_aligned(queries) ? score_tile<true> : score_tile<false>, queries, found + 1 + first, int(height),
               keys_ + key * depth_, int(width), int(depth_), scores, tile_);
        launch(ctx_, {"topk_collect_exact", unsigned(height), kSearchThreads, cut_bytes()}, collect<true>, search,
               found + 1, first, scores, tile_, int(width), int32_t(first_key_ + key));
      }
    }
    finish(search, found + 1, 0, doubtful, values, indices);
    return doubtful;
  }

  Context& ctx_;
  const float* keys_;
  int64_t key_count_, first_key_;
  int64_t depth_, width_;  // columns of a row, and of a rounded row
  int64_t tile_, group_;
  int64_t k_, keep_, capacity_;
  Tensor items_, best_, count_, norms_, bounds_, found_;
  Tensor narrow_queries_, narrow_keys_, scores_;
};

}  // namespace

void topk_inner(Context& ctx, const NeighborScheme& scheme, int64_t first_query, int64_t first_key,
                const Tensor& queries, const Tensor& keys, Tensor& values, Tensor& indices) {
  const int64_t rows = queries.shape()[0], depth = queries.shape()[1], k = values.shape()[1];
  COSS_ASSERT(keys.shape()[1] == depth && values.shape()[0] == rows && indices.shape() == values.shape());
  COSS_CHECK(k <= kMostNeighbors, "[topk_inner] finds at most " + std::to_string(kMostNeighbors) +
                                      " neighbors on the GPU, not k = " + std::to_string(k));
  if (scheme.doubtful) *scheme.doubtful = 0;
  if (rows == 0 || k == 0 || keys.shape()[0] == 0) return;
  const float* q = queries.data<float>();
  float* value = values.mutable_data<float>();
  int32_t* index = indices.mutable_data<int32_t>();
  Finder finder(ctx, scheme, rows, k, keys, first_key);
  for (int64_t first = 0; first < rows; first += scheme.pass_rows) {
    const int64_t count = std::min(scheme.pass_rows, rows - first);
    const int64_t doubtful = finder.run(first_query < 0 ? -1 : first_query + first, count, q + first * depth,
                                        value + first * k, index + first * k);
    if (scheme.doubtful) *scheme.doubtful += doubtful;
  }
}

void topk_inner(Context& ctx, int64_t first_query, int64_t first_key, const Tensor& queries, const Tensor& keys,
                Tensor& values, Tensor& indices) {
  topk_inner(ctx, NeighborScheme(), first_query, first_key, queries, keys, values, indices);
}

// --- vote ----------------------------------------------------------------------------------------------------------

namespace {

// A warp per row; lane l adds up the classes l, l + 32, ..., so every sum is made by one thread in the neighbors'
// order.
__global__ void __launch_bounds__(kSearchThreads)
    vote(KnnVoteParams p, int64_t rows, int64_t stored, const float* values, const int32_t* indices,
         const int32_t* labels, float* scores) {
  const int64_t row = int64_t(blockIdx.x) * kRowsPerBlock + threadIdx.x / kWarp;
  const int lane = int(threadIdx.x) % kWarp;
  if (row >= rows) return;
  float* score = scores + row * p.classes;
  for (int64_t c = lane; c < p.classes; c += kWarp) score[c] = 0;
  for (int64_t begin = 0; begin < p.k; begin += kWarp) {
    int label = -1;
    float weight = 0;
    if (begin + lane < p.k) {
      const int32_t index = indices[row * stored + begin + lane];
      if (index >= 0) label = labels[index];
      weight = expf(values[row * stored + begin + lane] / p.temperature);
    }
    for (int i = 0; i < kWarp; ++i) {
      const int target = __shfl_sync(kAllLanes, label, i);
      const float share = __shfl_sync(kAllLanes, weight, i);
      if (target >= 0 && target < p.classes && target % kWarp == lane) score[target] += share;
    }
  }
}

}  // namespace

void knn_vote(Context& ctx, const KnnVoteParams& p, const Tensor& values, const Tensor& indices, const Tensor& labels,
              Tensor& scores) {
  const int64_t rows = values.shape()[0], stored = values.shape()[1];
  COSS_ASSERT(p.k <= stored && indices.shape() == values.shape());
  COSS_ASSERT(scores.shape()[0] == rows && scores.shape()[1] == p.classes);
  if (rows == 0 || p.classes == 0) return;
  launch(ctx, {"knn_vote", blocks_for(rows, kRowsPerBlock), kSearchThreads}, vote, p, rows, stored,
         values.data<float>(), indices.data<int32_t>(), labels.data<int32_t>(), scores.mutable_data<float>());
}

}  // namespace coss::cuda
