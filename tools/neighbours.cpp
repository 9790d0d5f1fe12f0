// Blocks of queries against blocks of keys; the kernel keeps the running top-k of each query.
#include "tools/neighbours.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "engine/kernels.h"
#include "formats/npy.h"
#include "tools/signals.h"

namespace coss {
namespace {

using ReadRows = std::function<std::vector<float>(int64_t first, int64_t count)>;

Tensor normalised_rows(const ReadRows& read, int64_t first, int64_t count, int64_t width, Device device) {
  const Tensor raw = Tensor::from(read(first, count), {count, width}, device);
  Tensor rows(raw.shape(), DType::f32, device);
  kernels(device).normalize_rows(context(device), 1e-12f, raw, rows);
  return rows;
}

// Half of the memory for queries with their results, half for keys (each is held twice while it is normalised). One
// block of keys that covers all rows is read once and kept.
void mine_rows(int64_t rows, int64_t width, const ReadRows& read, const MiningOptions& options,
               const std::function<void(const std::vector<int32_t>&)>& take) {
  COSS_CHECK(options.k > 0, "mining: k must be at least 1");
  COSS_CHECK(options.k < rows, fmt::format("mining: {} images have at most {} neighbours each, k = {} is too many",
                                           rows, rows - 1, options.k));
  Context& ctx = context(options.device);
  const Kernels& k = kernels(options.device);
  const size_t key_bytes = 3 * size_t(width) * sizeof(float), query_bytes = key_bytes + size_t(options.k) * 16;
  COSS_CHECK(options.memory_bytes >= 2 * query_bytes, "mining: the memory limit does not hold two rows");
  const int64_t key_block = std::clamp<int64_t>(int64_t(options.memory_bytes / 2 / key_bytes), 1, rows);
  const int64_t query_block =
      std::clamp<int64_t>(int64_t(options.memory_bytes / 2 / query_bytes), 1, std::min<int64_t>(rows, 8192));

  Tensor all_keys;
  if (key_block == rows) all_keys = normalised_rows(read, 0, rows, width, options.device);
  for (int64_t first = 0; first < rows; first += query_block) {
    stop_if_interrupted();
    const int64_t count = std::min(query_block, rows - first);
    const Tensor queries = all_keys.empty() ? normalised_rows(read, first, count, width, options.device)
                                            : all_keys.view(first * width, {count, width});
    Tensor values({count, options.k}, DType::f32, options.device),
        indices({count, options.k}, DType::i32, options.device);
    k.fill(ctx, -std::numeric_limits<double>::infinity(), values);
    k.fill(ctx, -1, indices);
    for (int64_t key = 0; key < rows; key += key_block) {
      const int64_t keys = std::min(key_block, rows - key);
      const Tensor block = all_keys.empty() ? normalised_rows(read, key, keys, width, options.device) : all_keys;
      k.topk_inner(ctx, first, key, queries, block, values, indices);
    }
    take(indices.to_vector<int32_t>());
    if (options.progress) options.progress(first + count, rows);
  }
}

}  // namespace

void mine_file(const std::string& features, const std::string& out, const MiningOptions& options) {
  const NpyFile file(features);
  COSS_CHECK(file.shape().size() == 2,
             features + ": expected a matrix (images, width), found " + shape_text(file.shape()));
  NpyWriter writer(out, FileDType::i32, {file.rows(), options.k});
  mine_rows(
      file.rows(), file.row_size(), [&](int64_t first, int64_t count) { return file.read_float_rows(first, count); },
      options, [&](const std::vector<int32_t>& rows) { writer.append(rows.data(), rows.size() * sizeof(int32_t)); });
  writer.finish();
}

std::vector<int32_t> mine(const std::vector<float>& features, int64_t rows, int64_t width,
                          const MiningOptions& options) {
  COSS_ASSERT(int64_t(features.size()) == rows * width);
  std::vector<int32_t> found;
  found.reserve(size_t(rows * options.k));
  mine_rows(
      rows, width,
      [&](int64_t first, int64_t count) {
        return std::vector<float>(features.begin() + first * width, features.begin() + (first + count) * width);
      },
      options, [&](const std::vector<int32_t>& part) { found.insert(found.end(), part.begin(), part.end()); });
  return found;
}

}  // namespace coss
