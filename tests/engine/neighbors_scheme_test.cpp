// The borders inside the CUDA search: tiles, groups, passes, candidates that run out of space, and its two ways of
// scoring.
#include "engine/cuda/neighbors_scheme.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "tests/engine/kernel_test.h"

namespace coss::test {

#if defined(COSS_CUDA_HOST) || defined(COSS_CUDA)

namespace {

using cuda::NeighborScheme;

struct Found {
  std::vector<float> values;
  std::vector<int32_t> indices;
  bool operator==(const Found& other) const {  // compares bits
    return indices == other.indices &&
           std::equal(values.begin(), values.end(), other.values.begin(),
                      [](float a, float b) { return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b); });
  }
};

std::vector<float> normal(int64_t count, uint64_t seed) {
  return random_tensor({count}, DType::f32, Device::cpu, seed).to_vector<float>();
}
// Small whole numbers have the same sum in any order.
std::vector<float> coarse(int64_t count, uint64_t seed) {
  std::vector<float> values = normal(count, seed);
  for (float& value : values) value = std::round(2 * value);
  return values;
}

struct Problem {
  std::vector<float> queries, keys;
  int64_t width, k, first_query = -1;
  int64_t rows() const { return int64_t(queries.size()) / width; }
  int64_t count() const { return int64_t(keys.size()) / width; }
};

// Searches in blocks of keys, forward or backward. The tensors begin `shift` elements into their memory, so that they
// are not aligned.
Found search(const Problem& p, NeighborScheme scheme, int64_t block = 1 << 30, bool backwards = false,
             int64_t shift = 0) {
  auto shifted = [&](const std::vector<float>& values) {
    std::vector<float> longer(size_t(shift), 7.0f);
    longer.insert(longer.end(), values.begin(), values.end());
    return Tensor::from(longer, {int64_t(longer.size())}, Device::cuda);
  };
  const Tensor queries = shifted(p.queries).view(shift, {p.rows(), p.width}), keys = shifted(p.keys);
  const size_t places = size_t(p.rows() * p.k);
  Tensor values = Tensor::from(std::vector<float>(places, -INFINITY), {p.rows(), p.k}, Device::cuda);
  Tensor indices = Tensor::from(std::vector<int32_t>(places, -1), {p.rows(), p.k}, Device::cuda);
  std::vector<int64_t> firsts;
  for (int64_t first = 0; first < p.count(); first += block) firsts.push_back(first);
  if (backwards) std::reverse(firsts.begin(), firsts.end());
  int64_t doubtful = 0;
  int64_t* const all_doubtful = std::exchange(scheme.doubtful, &doubtful);
  if (all_doubtful) *all_doubtful = 0;
  for (int64_t first : firsts) {
    const int64_t count = std::min(block, p.count() - first);
    cuda::topk_inner(context(Device::cuda), scheme, p.first_query, first, queries,
                     keys.view(shift + first * p.width, {count, p.width}), values, indices);
    if (all_doubtful) *all_doubtful += doubtful;
  }
  return {values.to_vector<float>(), indices.to_vector<int32_t>()};
}

// The expected result, computed in double by sorting everything.
Found expected(const Problem& p) {
  Found found;
  for (int64_t i = 0; i < p.rows(); ++i) {
    std::vector<std::pair<double, int64_t>> all;  // negative score, index
    for (int64_t j = 0; j < p.count(); ++j) {
      double sum = 0;
      for (int64_t d = 0; d < p.width; ++d)
        sum += double(p.queries[size_t(i * p.width + d)]) * double(p.keys[size_t(j * p.width + d)]);
      if (sum > -INFINITY && (p.first_query < 0 || p.first_query + i != j)) all.emplace_back(-sum, j);
    }
    std::sort(all.begin(), all.end());
    for (int64_t j = 0; j < p.k; ++j) {
      const bool there = j < int64_t(all.size());
      found.values.push_back(there ? float(-all[size_t(j)].first) + 0.0f : -INFINITY);
      found.indices.push_back(there ? int32_t(all[size_t(j)].second) : -1);
    }
  }
  return found;
}

class NeighborSchemes : public testing::Test {
 protected:
  void SetUp() override {
    const std::vector<Device> devices = devices_under_test();
    if (std::find(devices.begin(), devices.end(), Device::cuda) == devices.end()) GTEST_SKIP() << "no GPU";
  }
};

TEST_F(NeighborSchemes, TilesGroupsAndPasses) {
  for (int64_t width : {24, 7, 1}) {
    const Problem p{.queries = coarse(9 * width, 1), .keys = coarse(83 * width, 2), .width = width, .k = 6};
    const Found exact = expected(p);
    EXPECT_EQ(search(p, {.pass_rows = 5, .group_rows = 2, .tile_keys = 16}), exact) << width;
    EXPECT_EQ(search(p, {.tile_keys = 8, .keep = 12}), exact) << width;
    EXPECT_EQ(search(p, {.tile_keys = 24}, /*block=*/29, /*backwards=*/true), exact) << width;
    EXPECT_EQ(search(p, {.tile_keys = 16, .keep = 6}, 1 << 30, false, /*shift=*/1), exact) << width;
  }
}

// Real values: rounding to bf16 changes the order, so this is where a wrong bound would show.
TEST_F(NeighborSchemes, BothWaysAndAnyBlocksAgreeToTheBit) {
  for (int64_t width : {136, 33}) {
    const Problem p{
        .queries = normal(7 * width, 3), .keys = normal(150 * width, 4), .width = width, .k = 9, .first_query = 3};
    int64_t doubtful = 0;
    const Found roomy = search(p, {.tile_keys = 64, .doubtful = &doubtful});
    EXPECT_EQ(doubtful, 0);
    EXPECT_EQ(roomy.indices, expected(p).indices);
    EXPECT_EQ(search(p, {.tile_keys = 32, .keep = 14, .doubtful = &doubtful}), roomy);
    EXPECT_EQ(search(p, {.tile_keys = 40, .keep = 9, .doubtful = &doubtful}), roomy);
    EXPECT_GT(doubtful, 0);
    EXPECT_EQ(search(p, {.tile_keys = 64, .keep = 40, .doubtful = &doubtful}), roomy);  // cut on the way
    EXPECT_EQ(doubtful, 0);
    EXPECT_EQ(search(p, {.tile_keys = 64, .keep = 30}, /*block=*/50), roomy);
    EXPECT_EQ(search(p, {.tile_keys = 64, .keep = 30}, /*block=*/41, /*backwards=*/true), roomy);
    EXPECT_EQ(search(p, {.tile_keys = 64, .keep = 9}, /*block=*/70, false, /*shift=*/3), roomy);
  }
}

// Fifty of the keys differ by less than bf16 can resolve, in an order that bf16 gets wrong.
TEST_F(NeighborSchemes, NearTiesAreKeptUntilTheyAreScoredExactly) {
  const int64_t width = 96, k = 7;
  Problem p{.queries = normal(5 * width, 10), .keys = normal(120 * width, 11), .width = width, .k = k};
  for (int64_t i = 30; i < 80; ++i)
    for (int64_t d = 0; d < width; ++d) {
      float& x = p.keys[size_t(i * width + d)];
      x = p.queries[size_t(i % 5 * width + d)] + 1e-3f * x;
    }
  int64_t doubtful = 0;
  const Found found = search(p, {.tile_keys = 16, .keep = 64, .doubtful = &doubtful});
  EXPECT_EQ(doubtful, 0);
  EXPECT_EQ(found.indices, expected(p).indices);
  EXPECT_EQ(search(p, {.tile_keys = 16, .keep = k, .doubtful = &doubtful}), found);
  EXPECT_EQ(doubtful, 5);
}

TEST_F(NeighborSchemes, CollapsedFeaturesAreDoubtfulAndExact) {
  const int64_t width = 40, rows = 5, count = 130, k = 8;
  Problem p{.queries = {}, .keys = {}, .width = width, .k = k, .first_query = 0};
  const std::vector<float> row = normal(width, 5);
  for (int64_t i = 0; i < count; ++i) p.keys.insert(p.keys.end(), row.begin(), row.end());
  p.queries.assign(p.keys.begin(), p.keys.begin() + rows * width);
  int64_t doubtful = 0;
  const Found found = search(p, {.tile_keys = 32, .keep = 16, .doubtful = &doubtful});
  EXPECT_EQ(doubtful, rows);
  EXPECT_EQ(found.indices, expected(p).indices);
  EXPECT_EQ(search(p, {.group_rows = 2, .tile_keys = 24, .keep = 8}, /*block=*/33, /*backwards=*/true), found);
}

TEST_F(NeighborSchemes, ManyDuplicatesAndFewKeys) {
  Problem p{.queries = coarse(6 * 16, 6), .keys = coarse(20 * 16, 7), .width = 16, .k = 30};
  EXPECT_EQ(search(p, {.tile_keys = 8}), expected(p));
  const std::vector<float> once = p.keys;
  for (int i = 0; i < 5; ++i) p.keys.insert(p.keys.end(), once.begin(), once.end());
  EXPECT_EQ(search(p, {.tile_keys = 16, .keep = 48}), expected(p));
}

TEST_F(NeighborSchemes, WhatIsNotFiniteIsNeverChosen) {
  Problem p{.queries = coarse(4 * 8, 8), .keys = coarse(40 * 8, 9), .width = 8, .k = 5};
  p.queries[9] = NAN;  // row 1 finds nothing
  Found found = search(p, {.tile_keys = 16});
  for (int64_t j = 5; j < 10; ++j) EXPECT_EQ(found.indices[size_t(j)], -1);
  EXPECT_EQ(found.indices, expected(p).indices);
  p.keys[3 * 8] = NAN;
  p.keys[7 * 8 + 2] = 3e38f;
  p.keys[9 * 8 + 5] = -INFINITY;
  int64_t doubtful = 0;
  found = search(p, {.tile_keys = 16, .doubtful = &doubtful});
  EXPECT_EQ(doubtful, 4);
  for (int32_t index : found.indices) EXPECT_NE(index, 3);
}

TEST_F(NeighborSchemes, RefusesWhatHasNoSpace) {
  const Problem p{.queries = coarse(4, 1), .keys = coarse(8, 2), .width = 4, .k = 8193};
  EXPECT_THROW(search(p, {}), Error);
}

}  // namespace

#else

TEST(NeighborSchemes, OfTheCudaBackend) { GTEST_SKIP() << "this build has no CUDA backend"; }

#endif

}  // namespace coss::test
