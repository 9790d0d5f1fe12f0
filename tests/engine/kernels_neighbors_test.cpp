// Nearest neighbors and the kNN vote against the reference.
#include "tests/engine/kernel_test.h"

namespace coss::test {

COSS_KERNEL_SUITE(Neighbors);

namespace {
struct Search {
  int64_t queries, keys, width, k, first_query = -1, block = 1000000;
};

std::vector<Backend> f32_backends() {
  std::vector<Backend> list = backends();
  std::erase_if(list, [](const Backend& backend) { return backend.compute != DType::f32; });
  return list;
}
}  // namespace

class TopK : public KernelTest {
 protected:
  // Values with few digits: products and sums are exact in f32, so equal scores are equal on every device.
  std::vector<double> coarse(int64_t count, uint64_t seed) const {
    std::vector<double> values = random_tensor({count}, DType::f64, Device::reference, seed, 2).to_doubles();
    for (double& value : values) value = std::round(value);
    return values;
  }

  void check(const Search& s, const std::vector<double>& queries, const std::vector<double>& keys) {
    SCOPED_TRACE(testing::Message() << s.queries << " queries, " << s.keys << " keys, k " << s.k << ", blocks of "
                                    << s.block);
    Twin q = twin(queries, {s.queries, s.width}, DType::f32);
    Twin values = constant(-std::numeric_limits<double>::infinity(), {s.queries, s.k}, DType::f32);
    Twin indices = constant(-1, {s.queries, s.k}, DType::i32);
    for (int64_t first = 0; first < s.keys; first += s.block) {
      const int64_t rows = std::min(s.block, s.keys - first);
      const auto begin = keys.begin() + first * s.width;
      Twin block = twin(std::vector<double>(begin, begin + rows * s.width), {rows, s.width}, DType::f32);
      both([&](const Kernels& k, Context& c, int side) {
        k.topk_inner(c, s.first_query, first, q[side], block[side], values[side], indices[side]);
      });
    }
    expect_equal(indices);
    expect_equal(values);
  }
};
// Everything is f32 here: one line per device.
INSTANTIATE_TEST_SUITE_P(Backends, TopK, testing::ValuesIn(f32_backends()),
                         [](const auto& test) { return backend_name(test.param); });

TEST_P(TopK, FindsTheNearestInAnyBlocks) {
  for (int64_t block : {1000, 64, 37}) {
    check({.queries = 19, .keys = 200, .width = 24, .k = 10, .block = block}, coarse(19 * 24, 1), coarse(200 * 24, 2));
  }
  check({.queries = 19, .keys = 20, .width = 24, .k = 10, .block = 1}, coarse(19 * 24, 1), coarse(20 * 24, 2));
}

TEST_P(TopK, ExcludesItselfButNotItsDuplicates) {
  // Every key occurs twice, so each query's best match after itself is its duplicate; first_query is not zero.
  std::vector<double> keys = coarse(30 * 16, 3);
  keys.insert(keys.end(), keys.begin(), keys.end());
  for (int64_t block : {60, 13}) {
    const std::vector<double> queries(keys.begin() + 20 * 16, keys.begin() + 35 * 16);
    check({.queries = 15, .keys = 60, .width = 16, .k = 7, .first_query = 20, .block = block}, queries, keys);
  }
}

TEST_P(TopK, OrdersTiesByIndex) {
  check({.queries = 3, .keys = 100, .width = 4, .k = 12, .block = 17}, std::vector<double>(12, 1.0),
        std::vector<double>(400, 1.0));
}

TEST_P(TopK, LeavesPlacesEmptyWhenThereAreFewKeys) {
  check({.queries = 4, .keys = 5, .width = 8, .k = 9, .first_query = 0}, coarse(32, 5), coarse(40, 6));
}

TEST_P(TopK, LargeProblemWithRealValues) {
  // With real values the sets agree, although near-ties may have another order.
  const int64_t n = 300, width = 64, k = 20;
  Twin q = normal({n, width}, DType::f32, 7);
  Twin values = constant(-std::numeric_limits<double>::infinity(), {n, k}, DType::f32);
  Twin indices = constant(-1, {n, k}, DType::i32);
  both([&](const Kernels& kernel, Context& c, int side) {
    kernel.topk_inner(c, 0, 0, q[side], q[side], values[side], indices[side]);
  });
  expect_close(values);
  const std::vector<double> tested = indices[0].to_doubles(), exact = indices[1].to_doubles();
  int64_t same = 0;
  for (size_t i = 0; i < tested.size(); ++i) same += tested[i] == exact[i];
  EXPECT_GE(same, n * k - 20);
}

TEST_P(Neighbors, KnnVote) {
  const KnnVoteParams p{.k = 5, .classes = 4, .temperature = 0.07f};
  std::vector<double> similarity, index, label;
  for (int i = 0; i < 6 * 8; ++i) {
    similarity.push_back(1 - 0.02 * (i % 8));
    index.push_back(i % 8 == 4 && i > 30 ? -1 : double(i * 13 % 50));  // fewer keys than k: an empty place
  }
  for (int i = 0; i < 50; ++i) label.push_back(i % 4);
  Twin values = twin(similarity, {6, 8}, DType::f32), indices = twin(index, {6, 8}, DType::i32);
  Twin labels = twin(label, {50}, DType::i32), scores = output({6, 4}, DType::f32);
  both([&](const Kernels& k, Context& c, int side) {
    k.knn_vote(c, p, values[side], indices[side], labels[side], scores[side]);
  });
  expect_close(scores);
}

}  // namespace coss::test
