// Both sides are normalized; then every test row finds its top-k among all training rows, and there is one vote for
// each k.
#include "evaluation/knn.h"

#include <algorithm>
#include <cmath>

#include "evaluation/nearest.h"
#include "evaluation/ranks.h"

namespace coss {
namespace {

Tensor normalized(const Features& features, Device device) {
  return unit_length_rows(features.values, features.rows, features.width, device);
}

}  // namespace

std::map<int64_t, double> knn_accuracy(const Features& train, const Features& test, const KnnOptions& options) {
  for (const Features* side : {&train, &test})
    COSS_CHECK(std::all_of(side->labels.begin(), side->labels.end(), [](int32_t label) { return label >= 0; }),
               "kNN evaluation needs labels: use class folders, a list file with labels, or CIFAR binaries");
  COSS_CHECK(train.width == test.width, "kNN: training features have width " + std::to_string(train.width) +
                                            ", test features " + std::to_string(test.width));
  Context& ctx = context(options.device);
  const Kernels& k = kernels(options.device);
  COSS_ASSERT(!options.leave_one_out || &train == &test);
  const int64_t voters = train.rows - options.leave_one_out;
  COSS_CHECK(voters > 0, "kNN: a single image has no others to be graded by");
  int64_t most = 1;
  for (int64_t count : options.k) most = std::max(most, std::min(count, voters));

  const Tensor queries = normalized(test, options.device), keys = normalized(train, options.device);
  const Tensor labels = Tensor::from(train.labels, {train.rows}, options.device);
  Nearest found(test.rows, most, options.device);
  k.topk_inner(ctx, /*first_query=*/options.leave_one_out ? 0 : -1, /*first_key=*/0, queries, keys, found.values,
               found.indices);

  KnnVoteParams vote;
  vote.temperature = options.temperature;
  vote.classes = 1 + std::max(*std::max_element(train.labels.begin(), train.labels.end()),
                              *std::max_element(test.labels.begin(), test.labels.end()));
  Tensor scores({test.rows, vote.classes}, DType::f32, options.device);
  std::map<int64_t, double> accuracy;
  for (int64_t count : options.k) {
    vote.k = std::min(count, voters);
    k.knn_vote(ctx, vote, found.values, found.indices, labels, scores);
    const std::vector<float> votes = scores.to_vector<float>();
    int64_t correct = 0;
    for (int64_t i = 0; i < test.rows; ++i) {
      // A row of NaN has no neighbors. Where nobody voted, no class is right.
      const float* row = votes.data() + i * vote.classes;
      const int32_t label = test.labels[size_t(i)];
      correct += row[label] > 0 && rank_of_label(row, vote.classes, label) == 0;
    }
    accuracy[count] = 100.0 * double(correct) / double(test.rows);
  }
  return accuracy;
}

}  // namespace coss
