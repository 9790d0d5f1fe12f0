// Nearest neighbors of the reference backend: it sorts everything.
#include "tests/reference/access.h"

namespace coss::reference {

void topk_inner(Context&, int64_t first_query, int64_t first_key, const Tensor& queries, const Tensor& keys,
                Tensor& values, Tensor& indices) {
  struct Match {
    double value;
    int32_t index;
  };
  const int64_t width = queries.shape().back(), k = values.shape().back();
  for (int64_t q = 0; q < queries.shape().rows(); ++q) {
    std::vector<Match> matches;
    for (int64_t j = 0; j < k; ++j) {
      const int32_t index = indices.data<int32_t>()[q * k + j];
      if (index >= 0) matches.push_back({in(values)[q * k + j], index});
    }
    for (int64_t m = 0; m < keys.shape().rows(); ++m) {
      if (first_query >= 0 && first_query + q == first_key + m) continue;
      double product = 0;
      for (int64_t d = 0; d < width; ++d) product += in(queries)[q * width + d] * in(keys)[m * width + d];
      matches.push_back({product, int32_t(first_key + m)});
    }
    std::sort(matches.begin(), matches.end(), [](const Match& a, const Match& b) {
      return a.value != b.value ? a.value > b.value : a.index < b.index;
    });
    for (int64_t j = 0; j < std::min<int64_t>(k, int64_t(matches.size())); ++j) {
      out(values)[q * k + j] = matches[size_t(j)].value;
      indices.mutable_data<int32_t>()[q * k + j] = matches[size_t(j)].index;
    }
  }
}

void knn_vote(Context&, const KnnVoteParams& p, const Tensor& values, const Tensor& indices, const Tensor& labels,
              Tensor& scores) {
  const int64_t stored = values.shape().back();
  std::fill_n(out(scores), scores.numel(), 0.0);
  for (int64_t q = 0; q < values.shape().rows(); ++q) {
    for (int64_t j = 0; j < p.k; ++j) {
      const int32_t index = indices.data<int32_t>()[q * stored + j];
      if (index < 0) continue;
      const int32_t label = labels.data<int32_t>()[index];
      out(scores)[q * p.classes + label] += std::exp(in(values)[q * stored + j] / double(p.temperature));
    }
  }
}

}  // namespace coss::reference
