// `coss bench mining`: the time to find the exact neighbors of random features that are on the device already.
#include <fmt/format.h>

#include <chrono>
#include <limits>
#include <nlohmann/json.hpp>

#include "engine/kernels.h"
#include "engine/print.h"
#include "tools/command.h"
#include "tools/commands.h"

namespace coss {
namespace {

struct BenchMiningOptions {
  CommonOptions common;
  int64_t rows = 50000, width = 512, k = 384, queries = 0;
};

void run_bench_mining(const BenchMiningOptions& options) {
  constexpr int64_t kBlock = 8192;
  apply(options.common);
  const Device device = options.common.place();
  Context& ctx = context(device);
  const Kernels& k = kernels(device);
  COSS_CHECK(options.k < options.rows,
             fmt::format("bench mining: --k {} needs more than {} rows", options.k, options.rows));
  Tensor keys({options.rows, options.width}, DType::f32, device);
  {
    Tensor noise(keys.shape(), DType::f32, device);
    k.random_normal(ctx, /*seed=*/0, /*stream=*/0, 0, 1, noise);
    k.normalize_rows(ctx, kSmallestNorm, noise, keys);
  }
  ctx.pool().trim();
  k.synchronize(ctx);
  const int64_t queries = options.queries > 0 ? std::min(options.queries, options.rows) : options.rows;
  const auto begin = std::chrono::steady_clock::now();
  for (int64_t first = 0; first < queries; first += kBlock) {
    const int64_t count = std::min(kBlock, queries - first);
    Tensor values({count, options.k}, DType::f32, device), indices({count, options.k}, DType::i32, device);
    k.fill(ctx, -std::numeric_limits<double>::infinity(), values);
    k.fill(ctx, -1, indices);
    k.topk_inner(ctx, first, 0, keys.view(first * options.width, {count, options.width}), keys, values, indices);
  }
  k.synchronize(ctx);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  const double operations = 2.0 * double(queries) * double(options.rows) * double(options.width);
  if (options.common.json)
    print("{}\n", nlohmann::ordered_json{{"seconds", seconds},
                                         {"rows", options.rows},
                                         {"queries", queries},
                                         {"width", options.width},
                                         {"k", options.k},
                                         {"tflops", operations / seconds * 1e-12}}
                      .dump());
  else
    print("{} nearest of {} rows among {} x {}: {:.2f} s, {:.1f} TFLOP/s\n", options.k, queries, options.rows,
          options.width, seconds, operations / seconds * 1e-12);
}

}  // namespace

void add_bench_mining(CLI::App& bench) {
  CLI::App& command = *bench.add_subcommand("mining", "time the search for nearest neighbors");
  auto options = std::make_shared<BenchMiningOptions>();
  command.add_option("--rows", options->rows, "images")->check(CLI::PositiveNumber)->capture_default_str();
  command.add_option("--width", options->width, "features of each")->check(CLI::PositiveNumber)->capture_default_str();
  command.add_option("--k", options->k, "neighbors of each")->check(CLI::PositiveNumber)->capture_default_str();
  command.add_option("--queries", options->queries, "only the neighbors of the first so many; 0: of all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  add_common(command, options->common);
  add_example(command, "coss bench mining --rows 1281167 --width 2048 --k 384 --device cuda");
  command.callback([options] { run_bench_mining(*options); });
}

}  // namespace coss
