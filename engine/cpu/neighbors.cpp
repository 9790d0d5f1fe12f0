// Exact nearest neighbors by inner product: blocks of matrix product, and from each the few scores that can still
// enter a query's best k. Also the vote of the weighted kNN classifier.
#include <oneapi/dnnl/dnnl.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "engine/cpu/parallel.h"
#include "engine/cpu/simd.h"
#include "engine/kernels.h"

namespace coss::cpu {

namespace {

// One block of scores stays in a core's cache between the product and the search.
constexpr int64_t kQueryBlock = 256, kKeyBlock = 512;

// Score and index in one integer: a greater one is a higher score, or the same score and a lower index.
uint64_t pack(float score, int32_t index) {
  const auto bits = std::bit_cast<uint32_t>(score + 0.0f);  // -0 and 0 are equal scores
  const uint32_t ordered = bits ^ (bits >> 31 ? ~0u : 0x80000000u);
  return uint64_t(ordered) << 32 | uint32_t(~index);
}
float score_of(uint64_t packed) {
  const auto ordered = uint32_t(packed >> 32);
  return std::bit_cast<float>(ordered ^ (ordered >> 31 ? 0x80000000u : ~0u));
}
int32_t index_of(uint64_t packed) { return int32_t(~uint32_t(packed)); }

// The candidates of one query. They are collected unsorted, and reduced to the best k whenever the space is full.
class Candidates {
 public:
  Candidates(uint64_t* space, int64_t capacity, int64_t k) : items_(space), capacity_(capacity), k_(k) {}

  // Only scores above it can be among the best.
  float floor() const { return floor_; }

  void offer(float score, int32_t index) {
    items_[count_++] = pack(score, index);
    if (count_ == capacity_) cut();
  }

  void load(const float* values, const int32_t* indices) {
    for (int64_t i = 0; i < k_; ++i)
      if (indices[i] >= 0) items_[count_++] = pack(values[i], indices[i]);
    if (count_ == k_) cut();
  }

  void store(float* values, int32_t* indices) {
    if (count_ > k_) cut();
    std::sort(items_, items_ + count_, std::greater<>());
    for (int64_t i = 0; i < k_; ++i) {
      values[i] = i < count_ ? score_of(items_[i]) : -std::numeric_limits<float>::infinity();
      indices[i] = i < count_ ? index_of(items_[i]) : -1;
    }
  }

 private:
  // An equal score may still win by its index, so the floor lies just below the k-th.
  void cut() {
    std::nth_element(items_, items_ + k_ - 1, items_ + count_, std::greater<>());
    count_ = k_;
    floor_ = std::nextafter(score_of(items_[k_ - 1]), -std::numeric_limits<float>::infinity());
  }

  uint64_t* items_;
  int64_t capacity_, k_, count_ = 0;
  float floor_ = -std::numeric_limits<float>::infinity();
};

// scores is a multiple of kLanes wide, padded with NaN, which is above nothing.
void search(const float* scores, int64_t width, int32_t first_index, Candidates& best) {
  for (int64_t column = 0; column < width; column += kLanes) {
    unsigned hits = less(broadcast(best.floor()), load(scores + column));
    for (; hits; hits &= hits - 1) {
      const int64_t j = column + std::countr_zero(hits);
      if (scores[j] > best.floor()) best.offer(scores[j], first_index + int32_t(j));
    }
  }
}

}  // namespace

void topk_inner(Context& ctx, int64_t first_query, int64_t first_key, const Tensor& queries, const Tensor& keys,
                Tensor& values, Tensor& indices) {
  const int64_t rows = queries.shape()[0], count = keys.shape()[0], depth = queries.shape()[1];
  const int64_t k = values.shape()[1];
  COSS_ASSERT(keys.shape()[1] == depth && values.shape()[0] == rows && indices.shape() == values.shape());
  const float *q = queries.data<float>(), *all_keys = keys.data<float>();
  float* value = values.mutable_data<float>();
  int32_t* index = indices.mutable_data<int32_t>();

  // Small problems get smaller blocks, so that every thread has work.
  const int64_t block = std::clamp<int64_t>((rows + threads() * 4 - 1) / (threads() * 4), 16, kQueryBlock);
  const int64_t capacity = std::max<int64_t>(2 * k, k + 192);
  const size_t scores_bytes = size_t(kQueryBlock * kKeyBlock) * sizeof(float);
  const size_t thread_bytes = scores_bytes + size_t(kQueryBlock * capacity) * sizeof(uint64_t);
  char* workspace = static_cast<char*>(ctx.workspace(thread_bytes * size_t(threads())));

#pragma omp parallel for schedule(dynamic, 1) num_threads(threads())
  for (int64_t begin = 0; begin < rows; begin += block) {
    char* own = workspace + thread_bytes * size_t(omp_get_thread_num());
    float* scores = reinterpret_cast<float*>(own);
    uint64_t* space = reinterpret_cast<uint64_t*>(own + scores_bytes);
    const int64_t height = std::min(block, rows - begin);
    std::vector<Candidates> best;
    best.reserve(size_t(height));
    for (int64_t i = 0; i < height; ++i) {
      best.emplace_back(space + i * capacity, capacity, k);
      best.back().load(value + (begin + i) * k, index + (begin + i) * k);
    }
    for (int64_t key = 0; key < count; key += kKeyBlock) {
      const int64_t width = std::min(kKeyBlock, count - key);
      const int64_t padded = (width + kLanes - 1) / kLanes * kLanes;
      const auto status = dnnl_sgemm('N', 'T', height, width, depth, 1, q + begin * depth, depth,
                                     all_keys + key * depth, depth, 0, scores, kKeyBlock);
      COSS_ASSERT(status == dnnl_success);
      for (int64_t i = 0; i < height; ++i) {
        float* row = scores + i * kKeyBlock;
        std::fill(row + width, row + padded, std::numeric_limits<float>::quiet_NaN());
        const int64_t self = first_query + begin + i - first_key - key;
        if (first_query >= 0 && self >= 0 && self < width) row[self] = std::numeric_limits<float>::quiet_NaN();
        search(row, padded, int32_t(first_key + key), best[size_t(i)]);
      }
    }
    for (int64_t i = 0; i < height; ++i) best[size_t(i)].store(value + (begin + i) * k, index + (begin + i) * k);
  }
}

void knn_vote(Context&, const KnnVoteParams& p, const Tensor& values, const Tensor& indices, const Tensor& labels,
              Tensor& scores) {
  const int64_t rows = values.shape()[0], found = values.shape()[1];
  COSS_ASSERT(p.k <= found && indices.shape() == values.shape());
  COSS_ASSERT(scores.shape()[0] == rows && scores.shape()[1] == p.classes);
  const float* value = values.data<float>();
  const int32_t *index = indices.data<int32_t>(), *label = labels.data<int32_t>();
  float* score = scores.mutable_data<float>();
  parallel_ranges(rows, 1, (found + p.classes) * 8, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      float* row = score + i * p.classes;
      std::fill_n(row, p.classes, 0.0f);
      for (int64_t j = i * found; j < i * found + p.k; ++j)
        if (index[j] >= 0 && label[index[j]] >= 0 && label[index[j]] < p.classes)
          row[label[index[j]]] += std::exp(value[j] / p.temperature);
    }
  });
}

}  // namespace coss::cpu
