// Mining: the k nearest neighbors of every row by cosine similarity, exactly and in bounded memory.
#pragma once
#include <cstdint>
#include <functional>
#include <string>

#include "evaluation/features.h"

namespace coss {

struct MiningOptions {
  int64_t k = 384;
  // For the features, scores and results that are held at once; 0: 4 GiB, or 60 % of a GPU's free memory.
  size_t memory_bytes = 0;
  Device device = Device::cpu;
  std::function<void(int64_t done, int64_t rows)> progress;
};

// Reads features (N,D) from an .npy file of f32 and writes neighbors (N,k) i32 to `out`, nearest first. A row is never
// its own neighbor, even if it has duplicates; of equal similarities the lower index comes first. Throws Interrupted
// after a signal, and Error if k >= N or a feature is not finite. Source: the offline stage of CoSS (ECCV 2024, arXiv
// 2409.13939).
void mine_file(const std::string& features, const std::string& out, const MiningOptions& options);

// The file beside `out` that mine_network() writes the features to, so that memory stays bounded, and removes at the
// end.
std::string passing_features(const std::string& out);
// Computes the features with a network first, then does the same. Throws what both parts throw.
void mine_network(Network& network, const Dataset& dataset, DType dtype, const FeatureOptions& features,
                  const std::string& out, const MiningOptions& options);

}  // namespace coss
