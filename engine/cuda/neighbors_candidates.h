// The candidates of one query during the search: scores that may still be among the best k, with their indices. One
// block of threads collects them unsorted, and reduces them whenever the space could run out.
#pragma once
#include "engine/cuda/device.h"

namespace coss::cuda {

constexpr int kSearchThreads = 256;
constexpr float kLowestScore = -3.402823466e+38f;  // lower scores, -inf and NaN, are never chosen

// --- one candidate -------------------------------------------------------------------------------------------------

// Score and index in one integer: a greater one is a higher score, or the same score and a lower index. Zero means
// none.
__device__ inline uint32_t ordered(float score) {
  const uint32_t bits = __float_as_uint(score + 0.0f);  // -0 and 0 are equal scores
  return bits ^ (bits >> 31 ? ~0u : 0x80000000u);
}
__device__ inline uint64_t pack(float score, int32_t index) {
  return uint64_t(ordered(score)) << 32 | uint32_t(~index);
}
__device__ inline float score_of(uint64_t packed) {
  const uint32_t word = uint32_t(packed >> 32);
  return __uint_as_float(word ^ (word >> 31 ? 0x80000000u : ~0u));
}
__device__ inline int32_t index_of(uint64_t packed) { return int32_t(~uint32_t(packed)); }

// --- all queries of a pass -----------------------------------------------------------------------------------------

struct Search {
  uint64_t* items;         // (rows, capacity)
  int32_t* count;          // (rows) candidates held; -1: doubtful, collects no more
  uint64_t* best;          // (rows) at least k candidates are not below it; 0: unknown
  const float* norm;       // (rows) |q|, rounded up
  const float* lost;       // (rows) |q - bf16(q)|, rounded up
  const uint32_t* bounds;  // (2) the greatest norm and loss of all keys so far, as bits of floats
  const float* values;     // (rows, k) the best of earlier calls, exact
  const int32_t* indices;
  int64_t first_query;  // index of row 0, negative: a row may match itself
  int k, capacity, keep, depth;
};

// How far the score of two rounded rows can be from the one in f32. With q' = bf16(q), k' = bf16(k) and exact sums
//   q.k - q'.k' = (q - q').k' + q.(k - k'),  so |.| <= |q - q'| (|k| + |k - k'|) + |q| |k - k'|    (Cauchy-Schwarz),
// where the losses are measured, not estimated. Sums: products of bf16 are exact in f32; a tensor core adds them and
// the running sum in small groups, cutting off below 2^-23 of the greatest addend, at most 1.5 times per product (Fasi
// et al., "Numerical behavior of NVIDIA tensor cores", 2021); the f32 sum rounds once per product by 2^-24. No partial
// sum exceeds |q| |k|: together less than depth * 2^-22 |q| |k|. The last term is for what underflows. One bound serves
// all keys of a query, so it is tight where their norms are alike, as those of normalized features.
__device__ inline float error_bound(const Search& s, int64_t row) {
  const float q = s.norm[row], q_lost = s.lost[row];
  const float key = __uint_as_float(s.bounds[0]), key_lost = __uint_as_float(s.bounds[1]);
  const float depth = float(s.depth);
  return q_lost * (key + key_lost) + q * key_lost + (depth + 16) * 0x1p-22f * q * key + depth * 1e-22f * (1 + q + key);
}

__device__ inline bool has_given(const Search& s, int64_t row) { return s.indices[row * s.k + s.k - 1] >= 0; }

// Candidates below it cannot be among the best k. Rounded scores (error e): at least k exact ones are >= best - e, so
// one rounded to less than best - 2e is below them all; a given k-th value is exact and leaves one e.
__device__ inline uint64_t rounded_cut(const Search& s, int64_t row, uint64_t best, float error) {
  float least = kLowestScore;
  if (best) least = fmaxf(least, score_of(best) - 2 * error);
  if (has_given(s, row)) least = fmaxf(least, s.values[row * s.k + s.k - 1] - error);
  return uint64_t(ordered(least)) << 32;
}
// The same for exact scores: equal ones are told apart by their indices.
__device__ inline uint64_t exact_cut(const Search& s, int64_t row, uint64_t best) {
  uint64_t cut = uint64_t(ordered(kLowestScore)) << 32;
  if (best > cut) cut = best;
  if (has_given(s, row)) {
    const uint64_t given = pack(s.values[row * s.k + s.k - 1], s.indices[row * s.k + s.k - 1]);
    if (given > cut) cut = given;
  }
  return cut;
}

// --- what a block does together ------------------------------------------------------------------------------------

// Reserves `mine` places for each thread, counted in total[0], and returns the first. All lanes of a warp call it.
template <class Total>
__device__ inline int reserve(Total& total, int mine) {
  const int lane = int(threadIdx.x) % kWarp;
  int up_to_me = mine;
  COSS_UNROLL
  for (int step = 1; step < kWarp; step *= 2) {
    const int below = __shfl_up_sync(kAllLanes, up_to_me, unsigned(step));
    if (lane >= step) up_to_me += below;
  }
  int start = 0;
  if (lane == kWarp - 1) start = shared_add(total, 0, up_to_me);
  start = __shfl_sync(kAllLanes, start, kWarp - 1);
  return start + up_to_me - mine;
}

// How many of words[0, n) are not below `least`.
template <class Words>
__device__ inline int count_from(Words& words, int n, uint32_t least) {
  int found = 0;
  for (int i = int(threadIdx.x); i < n; i += kSearchThreads) {
    const uint32_t word = words[i];
    found += word >= least;
  }
  return block_sum<kSearchThreads>(found);
}

// The k-th greatest of words[0, n) in shared memory, k <= n, by bisection: no sorting, no atomic operations. With slack
// it may be a smaller number that up to k + slack words reach.
template <class Words>
__device__ inline uint32_t kth_greatest(Words& words, int n, int k, int slack) {
  uint64_t low = 0, high = uint64_t(1) << 32;  // at least k words reach low, fewer than k reach high
  while (high - low > 1) {
    const uint64_t middle = low + (high - low) / 2;
    const int found = count_from(words, n, uint32_t(middle));
    if (found < k) {
      high = middle;
    } else {
      low = middle;
      if (found <= k + slack) break;
    }
  }
  return uint32_t(low);
}

// Reduces the n >= k candidates of a row: exact ones to the best k, rounded ones to those that may be among them. A row
// that keeps too many becomes doubtful. words: space for n words; total: one int. The whole block calls it, after all
// writes to the row have finished.
template <bool kExact, class Words, class Total>
__device__ inline void cut_back(const Search& s, int64_t row, int n, Words& words, Total& total) {
  uint64_t* items = s.items + row * s.capacity;
  for (int i = int(threadIdx.x); i < n; i += kSearchThreads) words[i] = uint32_t(items[i] >> 32);
  if (threadIdx.x == 0) total[0] = 0;
  __syncthreads();
  const uint32_t score = kth_greatest(words, n, s.k, kExact ? 0 : s.k / 16);
  uint64_t best = uint64_t(score) << 32, cut = best;
  if constexpr (kExact) {
    // Of those with the k-th score, the lowest indices.
    const int above = score == ~0u ? 0 : count_from(words, n, score + 1);
    for (int i = int(threadIdx.x); i < n; i += kSearchThreads)
      words[i] = uint32_t(items[i] >> 32) == score ? uint32_t(items[i]) : 0u;
    __syncthreads();
    best |= kth_greatest(words, n, s.k - above, 0);
    cut = best;
  } else {
    cut = rounded_cut(s, row, best, error_bound(s, row));
  }
  // In place: places are never behind what has been read.
  for (int begin = 0; begin < n; begin += kSearchThreads) {
    const int i = begin + int(threadIdx.x);
    const uint64_t item = i < n ? items[i] : 0;
    __syncthreads();
    const bool stays = i < n && item >= cut;
    const int place = reserve(total, int(stays));
    if (stays) items[place] = item;
  }
  __syncthreads();
  const int kept = total[0];
  if (threadIdx.x == 0) {
    s.count[row] = kept <= s.keep ? kept : -1;
    s.best[row] = best;
  }
}

}  // namespace coss::cuda
