// Mining: the k nearest of every row by cosine similarity, exact, in bounded memory.
#pragma once
#include <cstdint>
#include <functional>
#include <string>

#include "evaluation/features.h"

namespace coss {

struct MiningOptions {
  int64_t k = 384;
  size_t memory_bytes =
      0;  // features, scores and results that are held at once; 0: 4 GiB, or 60 % of a GPU's free memory
  Device device = Device::cpu;
  std::function<void(int64_t done, int64_t rows)> progress;
};

// Reads features (N,D) from an .npy file of floats and writes neighbors (N,k) i32 to `out`, nearest first, a row never
// its own neighbor, also where duplicates exist; equal similarities: the lower index first. Throws Interrupted after a
// signal, Error when k >= N or where a feature is not finite. Source: the offline stage of CoSS (ECCV 2024, arXiv
// 2409.13939).
void mine_file(const std::string& features, const std::string& out, const MiningOptions& options);

// The file beside `out` that features pass through, so that memory stays bounded; it is removed in the end.
std::string passing_features(const std::string& out);
// The same from a network over a data set.
void mine_network(Network& network, const Dataset& dataset, DType dtype, const FeatureOptions& features,
                  const std::string& out, const MiningOptions& options);

}  // namespace coss
