// Samplers: permutations, neighbors drawn from the pool, and batches that do not depend on what was drawn before.
#include "data/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "engine/check.h"

namespace coss::test {
namespace {

TEST(Sampler, SequentialKeepsTheShortLastBatch) {
  SequentialSampler sampler(10, 4);
  EXPECT_EQ(sampler.batches_per_epoch(), 3);
  EXPECT_EQ(sampler.batch(0, 0), (std::vector<int64_t>{0, 1, 2, 3}));
  EXPECT_EQ(sampler.batch(5, 2), (std::vector<int64_t>{8, 9}));
}

TEST(Sampler, ShuffledIsAPermutationPerEpoch) {
  ShuffledSampler sampler(103, 10, 1);
  EXPECT_EQ(sampler.batches_per_epoch(), 10);
  std::vector<std::vector<int64_t>> epochs;
  for (int64_t epoch = 0; epoch < 2; ++epoch) {
    std::vector<int64_t> all;
    for (int64_t number = 0; number < 10; ++number) {
      const auto batch = sampler.batch(epoch, number);
      ASSERT_EQ(batch.size(), 10u);
      all.insert(all.end(), batch.begin(), batch.end());
    }
    epochs.push_back(all);
    EXPECT_EQ(std::set<int64_t>(all.begin(), all.end()).size(), 100u);
    EXPECT_GE(*std::min_element(all.begin(), all.end()), 0);
    EXPECT_LT(*std::max_element(all.begin(), all.end()), 103);
  }
  EXPECT_NE(epochs[0], epochs[1]);
  EXPECT_NE(epochs[0], ([] {
              ShuffledSampler other(103, 100, 2);
              return other.batch(0, 0);
            }()));
}

TEST(Sampler, EveryStepStandsForItself) {
  ShuffledSampler forward(50, 5, 3), jumping(50, 5, 3);
  const auto wanted = forward.batch(2, 7);
  jumping.batch(9, 1);
  EXPECT_EQ(jumping.batch(2, 7), wanted);
}

TEST(Sampler, ShuffleIsUniform) {
  ShuffledSampler sampler(5, 5, 4);
  int counts[5][5] = {};
  for (int64_t epoch = 0; epoch < 5000; ++epoch) {
    const auto order = sampler.batch(epoch, 0);
    for (size_t place = 0; place < 5; ++place) ++counts[place][order[place]];
  }
  for (const auto& row : counts) {
    for (const int count : row) EXPECT_NEAR(count, 1000, 5 * 28);  // five standard deviations
  }
}

std::vector<int32_t> ring_of_neighbors(int32_t size, int32_t stored) {
  std::vector<int32_t> neighbors;
  for (int32_t i = 0; i < size; ++i) {
    for (int32_t k = 1; k <= stored; ++k) neighbors.push_back((i + k) % size);
  }
  return neighbors;
}

TEST(Sampler, NeighborsComeFromTheAnchorsPoolWithoutRepetition) {
  NeighborSampler sampler(ring_of_neighbors(40, 8), 40, 4, 3, 6, 5);
  EXPECT_EQ(sampler.batch_size(), 16);
  EXPECT_EQ(sampler.batches_per_epoch(), 10);
  std::set<int64_t> anchors, offsets;
  for (int64_t number = 0; number < 10; ++number) {
    const auto batch = sampler.batch(1, number);
    ASSERT_EQ(batch.size(), 16u);
    for (size_t a = 0; a < 4; ++a) {
      const int64_t anchor = batch[4 * a];
      anchors.insert(anchor);
      std::set<int64_t> drawn;
      for (size_t k = 1; k < 4; ++k) drawn.insert((batch[4 * a + k] - anchor + 40) % 40);
      EXPECT_EQ(drawn.size(), 3u);
      EXPECT_GE(*drawn.begin(), 1);
      EXPECT_LE(*drawn.rbegin(), 6);
      offsets.insert(drawn.begin(), drawn.end());
    }
  }
  EXPECT_EQ(anchors.size(), 40u);
  EXPECT_EQ(offsets.size(), 6u);
}

TEST(Sampler, NeighborsAreDrawnAnewEachEpochAndResume) {
  NeighborSampler sampler(ring_of_neighbors(40, 20), 40, 1, 4, 20, 5);
  std::vector<std::vector<int64_t>> of_anchor_3;
  for (int64_t epoch = 0; epoch < 3; ++epoch) {
    for (int64_t number = 0; number < 40; ++number) {
      const auto batch = sampler.batch(epoch, number);
      if (batch[0] == 3) of_anchor_3.push_back(batch);
    }
  }
  ASSERT_EQ(of_anchor_3.size(), 3u);
  EXPECT_NE(of_anchor_3[0], of_anchor_3[1]);
  EXPECT_NE(of_anchor_3[1], of_anchor_3[2]);
  NeighborSampler resumed(ring_of_neighbors(40, 20), 40, 1, 4, 20, 5);
  EXPECT_EQ(resumed.batch(2, 17), sampler.batch(2, 17));
}

TEST(Sampler, TheWholePoolComesInOrder) {
  NeighborSampler sampler(ring_of_neighbors(10, 5), 10, 1, 3, 3, 6);
  const auto batch = sampler.batch(0, 4);
  for (size_t k = 1; k <= 3; ++k) EXPECT_EQ(batch[k], (batch[0] + int64_t(k)) % 10);
}

template <class Make>
std::string error_of(Make make) {
  try {
    make();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Sampler, ImpossibleRequestsAreErrorsInWords) {
  EXPECT_NE(error_of([] { ShuffledSampler(10, 11, 0); }).find("batch of 11"), std::string::npos);
  EXPECT_NE(error_of([] { ShuffledSampler(10, 0, 0); }).find("positive"), std::string::npos);
  EXPECT_NE(error_of([] { SequentialSampler(10, -1); }).find("positive"), std::string::npos);
  auto neighbors = ring_of_neighbors(10, 4);
  auto make = [&](int64_t nearest, int64_t pool) {
    return error_of([&] { NeighborSampler(neighbors, 10, 2, nearest, pool, 0); });
  };
  EXPECT_EQ(make(2, 4), "");
  EXPECT_NE(make(2, 5).find("pool of 5"), std::string::npos);
  EXPECT_NE(make(3, 2).find("from a pool of 2"), std::string::npos);
  neighbors[13] = 10;
  EXPECT_NE(make(2, 4).find("neighbor 1 of image 3 is 10"), std::string::npos);
  neighbors[13] = -1;
  EXPECT_NE(make(2, 4).find("is -1"), std::string::npos);
  neighbors.pop_back();
  EXPECT_NE(make(2, 4).find("39 entries"), std::string::npos);
}

// With unique no image comes twice while stored neighbors are left.
TEST(NeighborSampler, UniqueBatchesHoldEachImageOnce) {
  NeighborSampler sampler(ring_of_neighbors(80, 30), 80, 5, 4, 8, 5, /*unique=*/true);
  for (int64_t number = 0; number < sampler.batches_per_epoch(); ++number) {
    const std::vector<int64_t> batch = sampler.batch(0, number);
    ASSERT_EQ(batch.size(), 25u);
    EXPECT_EQ(std::set<int64_t>(batch.begin(), batch.end()).size(), 25u) << number;
  }
  NeighborSampler full(ring_of_neighbors(10, 5), 10, 4, 3, 3, 6, /*unique=*/true);  // 16 places for 10 images
  EXPECT_EQ(full.batch(0, 0).size(), 16u);
}

}  // namespace
}  // namespace coss::test
