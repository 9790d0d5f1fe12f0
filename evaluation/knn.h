// The weighted k-nearest-neighbor classifier on frozen features (Wu et al., CVPR 2018): votes exp(cosine / T).
#pragma once
#include <cstdint>
#include <map>
#include <vector>

#include "evaluation/features.h"

namespace coss {

struct KnnOptions {
  std::vector<int64_t> k = {1, 10, 20, 100, 200};  // clipped to the number of images that can vote
  float temperature = 0.07f;
  bool leave_one_out = false;  // the training rows are the test rows, and none votes for itself
  Device device = Device::cpu;
};

// Returns the top-1 accuracy in percent for each k. Throws Error on rows without a label (negative).
std::map<int64_t, double> knn_accuracy(const Features& train, const Features& test, const KnnOptions& options);

}  // namespace coss
