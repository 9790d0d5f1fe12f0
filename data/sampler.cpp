// The order of the images comes from Philox keys, so each batch can be computed without those before it.
#include "data/sampler.h"

#include <algorithm>
#include <numeric>
#include <set>
#include <utility>

#include "engine/check.h"
#include "engine/philox.h"

namespace coss {

namespace {

void check_place(int64_t epoch, int64_t number, int64_t batches) {
  COSS_ASSERT(epoch >= 0 && number >= 0 && number < batches);
}

}  // namespace

SequentialSampler::SequentialSampler(int64_t size, int64_t batch) : size_(size), batch_(batch) {
  COSS_CHECK(batch > 0, "the batch size is " + std::to_string(batch) + ": give a positive one");
}

std::vector<int64_t> SequentialSampler::batch(int64_t epoch, int64_t number) {
  check_place(epoch, number, batches_per_epoch());
  std::vector<int64_t> indices(static_cast<size_t>(std::min(batch_, size_ - number * batch_)));
  std::iota(indices.begin(), indices.end(), number * batch_);
  return indices;
}

ShuffledSampler::ShuffledSampler(int64_t size, int64_t batch, uint64_t seed) : size_(size), batch_(batch), seed_(seed) {
  COSS_CHECK(batch > 0, "the batch size is " + std::to_string(batch) + ": give a positive one");
  COSS_CHECK(batch <= size, "a batch of " + std::to_string(batch) + " images is larger than the data set of " +
                                std::to_string(size) + ": use a smaller batch");
  COSS_CHECK(size <= int64_t(UINT32_MAX), "a data set of " + std::to_string(size) + " images is too large to shuffle");
}

std::vector<int64_t> ShuffledSampler::batch(int64_t epoch, int64_t number) {
  check_place(epoch, number, batches_per_epoch());
  if (epoch != epoch_) {
    order_.resize(size_t(size_));
    std::iota(order_.begin(), order_.end(), int64_t(0));
    RandomStream random(seed_, RandomUse::order, uint64_t(epoch));
    for (size_t i = order_.size() - 1; i > 0; --i) std::swap(order_[i], order_[random.below(uint32_t(i + 1))]);
    epoch_ = epoch;
  }
  return {order_.begin() + number * batch_, order_.begin() + (number + 1) * batch_};
}

NeighborSampler::NeighborSampler(std::vector<int32_t> neighbors, int64_t size, int64_t anchors, int64_t nearest,
                                 int64_t pool, uint64_t seed, bool unique)
    : anchors_(size, anchors, seed),
      neighbors_(std::move(neighbors)),
      stored_(int64_t(neighbors_.size()) / std::max<int64_t>(size, 1)),
      nearest_(nearest),
      pool_(pool),
      seed_(seed),
      unique_(unique) {
  COSS_CHECK(stored_ * size == int64_t(neighbors_.size()),
             "the neighbor file has " + std::to_string(neighbors_.size()) + " entries, no multiple of the " +
                 std::to_string(size) + " images: mine the neighbors of this data set");
  COSS_CHECK(nearest >= 0 && nearest <= pool, "cannot draw " + std::to_string(nearest) + " neighbors from a pool of " +
                                                  std::to_string(pool) + ": make the pool at least as large");
  COSS_CHECK(pool <= stored_, "the pool of " + std::to_string(pool) + " neighbors is larger than the " +
                                  std::to_string(stored_) + " that are stored per image: mine more or use fewer");
  for (size_t i = 0; i < neighbors_.size(); ++i) {
    COSS_CHECK(neighbors_[i] >= 0 && neighbors_[i] < size,
               "neighbor " + std::to_string(int64_t(i) % stored_) + " of image " +
                   std::to_string(int64_t(i) / stored_) + " is " + std::to_string(neighbors_[i]) + ", but there are " +
                   std::to_string(size) + " images: mine the neighbors of this data set");
  }
}

std::vector<int64_t> NeighborSampler::batch(int64_t epoch, int64_t number) {
  const std::vector<int64_t> anchors = anchors_.batch(epoch, number);
  std::set<int64_t> taken(anchors.begin(), anchors.end());
  std::vector<int64_t> indices;
  indices.reserve(size_t(batch_size()));
  std::vector<int32_t> candidates(static_cast<size_t>(stored_));
  for (const int64_t anchor : anchors) {
    indices.push_back(anchor);
    std::copy_n(neighbors_.begin() + anchor * stored_, stored_, candidates.begin());
    RandomStream random(seed_, RandomUse::neighbors, uint64_t(epoch), uint64_t(anchor));
    const int64_t drawn = unique_ ? pool_ : nearest_;  // with `unique`, draws may already be in the batch
    if (nearest_ < pool_)
      for (int64_t i = 0; i < std::min(drawn, pool_ - 1); ++i)
        std::swap(candidates[size_t(i)], candidates[size_t(i + random.below(uint32_t(pool_ - i)))]);
    int64_t left = nearest_;
    for (int64_t i = 0; i < stored_ && left > 0; ++i) {
      if (unique_ && !taken.insert(candidates[size_t(i)]).second) continue;
      indices.push_back(candidates[size_t(i)]);
      --left;
    }
    for (int64_t i = 0; i < left; ++i) indices.push_back(candidates[size_t(i)]);  // all are in the batch already
  }
  return indices;
}

}  // namespace coss
