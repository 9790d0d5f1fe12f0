// Blocks of queries meet blocks of keys. The kernel keeps the top-k that each query has found so far.
#include "evaluation/neighbors.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "engine/finite.h"
#include "evaluation/nearest.h"
#include "evaluation/signals.h"
#include "formats/npy.h"

namespace coss {
namespace {

Tensor normalized_rows(const NpyFile& file, const std::string& path, int64_t first, int64_t count, Device device) {
  const std::vector<float> values = file.read_float_rows(first, count);
  const NotFinite bad = not_finite(values.data(), int64_t(values.size()));
  if (bad.count > 0)
    throw Error(
        fmt::format("{}: row {} (counted from 0) has a feature that is not finite (NaN or infinity), so it has "
                    "no neighbors. Usually the weights were damaged, the mean and standard deviation of the "
                    "images wrong, or fp16 overflowed: write the file again with 'coss embed'",
                    path, first + bad.first / file.row_size()));
  return unit_length_rows(values, count, file.row_size(), device);
}

size_t memory_for(const MiningOptions& options) {
  if (options.memory_bytes > 0) return options.memory_bytes;
  DeviceInfo info;
  if (options.device == Device::cuda) kernels(options.device).probe(info);
  return info.free_bytes > 0 ? info.free_bytes / 5 * 3 : size_t(4) << 30;
}

void check_k(int64_t k, int64_t rows) {
  COSS_CHECK(k > 0, "mining: k must be at least 1");
  COSS_CHECK(k < rows,
             fmt::format("mining: {} images have at most {} neighbors each, k = {} is too many", rows, rows - 1, k));
}

}  // namespace

void mine_file(const std::string& features, const std::string& out, const MiningOptions& options) {
  const NpyFile file(features);
  COSS_CHECK(file.shape().size() == 2,
             features + ": expected a matrix (images, width), found " + shape_text(file.shape()));
  const int64_t rows = file.rows(), width = file.row_size();
  check_k(options.k, rows);
  NpyWriter writer(out, FileDType::i32, {rows, options.k});
  Context& ctx = context(options.device);
  const Kernels& k = kernels(options.device);
  // One half of the memory is for queries with their results, the other for keys (a key is held twice while it is
  // normalized). If one block of keys covers all rows, it is read once and kept.
  const size_t memory = memory_for(options), key_bytes = 3 * size_t(width) * sizeof(float),
               query_bytes = key_bytes + size_t(options.k) * 16;
  COSS_CHECK(memory >= 2 * query_bytes, "mining: the memory limit does not hold two rows");
  const int64_t key_block = std::clamp<int64_t>(int64_t(memory / 2 / key_bytes), 1, rows);
  const int64_t query_block = std::clamp<int64_t>(int64_t(memory / 2 / query_bytes), 1, std::min<int64_t>(rows, 8192));

  Tensor all_keys;
  if (key_block == rows) all_keys = normalized_rows(file, features, 0, rows, options.device);
  for (int64_t first = 0; first < rows; first += query_block) {
    stop_if_interrupted();
    const int64_t count = std::min(query_block, rows - first);
    const Tensor queries = all_keys.empty() ? normalized_rows(file, features, first, count, options.device)
                                            : all_keys.view(first * width, {count, width});
    Nearest nearest(count, options.k, options.device);
    for (int64_t key = 0; key < rows; key += key_block) {
      const int64_t keys = std::min(key_block, rows - key);
      const Tensor block = all_keys.empty() ? normalized_rows(file, features, key, keys, options.device) : all_keys;
      k.topk_inner(ctx, first, key, queries, block, nearest.values, nearest.indices);
    }
    const std::vector<int32_t> found = nearest.indices.to_vector<int32_t>();
    writer.append(found.data(), found.size() * sizeof(int32_t));
    if (options.progress) options.progress(first + count, rows);
  }
  writer.finish();
}

std::string passing_features(const std::string& out) { return out + ".features"; }

void mine_network(Network& network, const Dataset& dataset, DType dtype, const FeatureOptions& features,
                  const std::string& out, const MiningOptions& options) {
  struct PassingFile {
    std::string path;
    ~PassingFile() {
      std::error_code ignored;  // the file may never have been made
      std::filesystem::remove(path, ignored);
    }
  };
  check_k(options.k, dataset.size());  // before the long part
  const PassingFile file{passing_features(out)};
  write_features(network, dataset, options.device, dtype, features, file.path);
  mine_file(file.path, out, options);
}

}  // namespace coss
