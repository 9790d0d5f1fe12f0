// Evaluation on real data: the published checkpoints reach their published figures, to the digit; mining agrees with
// brute force in double.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "engine/philox.h"
#include "evaluation/knn.h"
#include "evaluation/linear_probe.h"
#include "evaluation/loaded_network.h"
#include "evaluation/neighbors.h"
#include "formats/npy.h"
#include "tests/support/support.h"

namespace coss {
namespace {

double rounded(double percent) { return std::round(percent * 100) / 100; }

std::vector<int32_t> mine(const std::vector<float>& features, int64_t rows, int64_t width,
                          const MiningOptions& options) {
  const std::string folder = test::scratch_folder(), out = folder + "/neighbors.npy";
  write_npy(folder + "/features.npy", FileDType::f32, {rows, width}, features.data());
  mine_file(folder + "/features.npy", out, options);
  const NpyArray array = read_npy(out);
  std::vector<int32_t> found(array.bytes.size() / sizeof(int32_t));
  std::memcpy(found.data(), array.bytes.data(), array.bytes.size());
  return found;
}

// ResNet-20's features, or logits, of CIFAR-10.
Features of_cifar10(const std::string& shared, Split split, bool logits = false) {
  const auto network =
      load_network(Checkpoint(shared + "/checkpoints/akamaster-cifar10/resnet20-12fca82f.th", "resnet20_cifar"),
                   Classifier::required, Device::cpu, DType::f32);
  FeatureOptions options;
  options.image_size = 32;
  options.batch = 256;
  options.logits = logits;
  return extract_features(**network, *open_dataset(shared + "/data/cifar-10-batches-bin", split), Device::cpu,
                          DType::f32, options);
}

TEST(Evaluation, NearestNeighborsOnCifar10) {
  const auto shared = test::shared_folder();
  if (!shared) GTEST_SKIP() << "no shared folder: set COSS_SHARED";
  const auto accuracy = knn_accuracy(of_cifar10(*shared, Split::train), of_cifar10(*shared, Split::test), {});
  const std::map<int64_t, double> published{{1, 91.37}, {10, 91.71}, {20, 91.72}, {100, 91.91}, {200, 91.88}};
  for (const auto& [k, percent] : published) EXPECT_NEAR(accuracy.at(k), percent, 0.05) << k;
}

TEST(Evaluation, ClassifierOnCifar10) {
  const auto shared = test::shared_folder();
  if (!shared) GTEST_SKIP() << "no shared folder: set COSS_SHARED";
  const Features logits = of_cifar10(*shared, Split::test, /*logits=*/true);
  int64_t correct = 0;
  for (int64_t i = 0; i < logits.rows; ++i) {
    const auto row = logits.values.begin() + i * logits.width;
    correct += std::max_element(row, row + logits.width) - row == logits.labels[size_t(i)];
  }
  EXPECT_EQ(rounded(100.0 * double(correct) / double(logits.rows)), 91.73);
}

TEST(Evaluation, MiningAgreesWithBruteForceInDouble) {
  const auto shared = test::shared_folder();
  if (!shared) GTEST_SKIP() << "no shared folder: set COSS_SHARED";
  const Features features = of_cifar10(*shared, Split::test);
  const int64_t rows = features.rows, width = features.width;
  constexpr int64_t kNeighbors = 31, kSample = 200;
  MiningOptions options;
  options.k = kNeighbors;
  options.memory_bytes = size_t(5) << 20;  // several blocks of queries and of keys
  const std::vector<int32_t> found = mine(features.values, rows, width, options);

  std::vector<double> unit(features.values.begin(), features.values.end());
  for (int64_t i = 0; i < rows; ++i) {
    double* row = unit.data() + i * width;
    const double norm = std::sqrt(std::inner_product(row, row + width, row, 0.0));
    for (int64_t d = 0; d < width; ++d) row[d] /= norm;
  }
  std::vector<double> similarity(static_cast<size_t>(rows));
  for (int64_t s = 0; s < kSample; ++s) {
    const int64_t i = s * (rows / kSample);
    for (int64_t j = 0; j < rows; ++j)
      similarity[size_t(j)] = i == j ? -2
                                     : std::inner_product(&unit[size_t(i * width)], &unit[size_t(i * width)] + width,
                                                          &unit[size_t(j * width)], 0.0);
    std::vector<double> best = similarity;
    std::partial_sort(best.begin(), best.begin() + kNeighbors, best.end(), std::greater<>());
    for (int64_t n = 0; n < kNeighbors; ++n) {
      const int32_t neighbor = found[size_t(i * kNeighbors + n)];
      ASSERT_NE(neighbor, i);
      // Equal but for the rounding of fp32: neighbors as near as that may change places.
      ASSERT_NEAR(similarity[size_t(neighbor)], best[size_t(n)], 1e-6) << "row " << i << ", neighbor " << n;
    }
  }
}

// Two Gaussian classes on either side of a plane.
Features separable(int64_t rows, uint64_t seed) {
  RandomStream random(seed, RandomUse::other);
  Features features;
  features.rows = rows;
  features.width = 5;
  for (int64_t i = 0; i < rows; ++i) {
    const int32_t label = int32_t(i % 2);
    for (int64_t d = 0; d < features.width; ++d)
      features.values.push_back(0.3f * random.normal() + (d == 2 ? 2.0f * float(label) : 0.0f));
    features.labels.push_back(label);
    features.indices.push_back(i);
  }
  return features;
}

TEST(Evaluation, BothLinearProbesSeparateWhatIsSeparable) {
  const Features train = separable(300, 1), test = separable(100, 2);
  for (const char* solver : {"sgd", "lbfgs"}) {
    LinearProbeOptions options;
    options.solver = solver;
    options.learning_rate = 1;
    const LinearProbeResult result = linear_probe(train, test, options);
    EXPECT_GE(result.top1, 99) << solver;
    EXPECT_EQ(result.top5, 100) << solver;
  }
}

TEST(Evaluation, MiningExcludesSelfAmongDuplicates) {
  const std::vector<float> features{1, 0, 1, 0, 1, 0, 0, 1};  // three equal rows and another
  MiningOptions options;
  options.k = 2;
  EXPECT_EQ(mine(features, 4, 2, options), (std::vector<int32_t>{1, 2, 0, 2, 0, 1, 0, 1}));
}

}  // namespace
}  // namespace coss
