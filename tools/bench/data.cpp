// `coss bench data`: how fast images come from their files to augmented tensors on the device, with nothing trained.
#include <fmt/format.h>

#include <chrono>
#include <nlohmann/json.hpp>

#include "data/loader.h"
#include "engine/kernels.h"
#include "engine/print.h"
#include "tools/command.h"
#include "tools/commands.h"

namespace coss {
namespace {

struct BenchDataOptions {
  CommonOptions common;
  std::string data, augmentation = "moco_v2";
  int32_t size = 224;
  int workers = 2;
  int64_t steps = 20;
};

void run_bench_data(const BenchDataOptions& options) {
  constexpr int64_t kWarmUp = 2;
  apply(options.common);
  const Device device = options.common.place();
  Context& ctx = context(device);
  const Kernels& k = kernels(device);
  const auto dataset = open_dataset(options.data, Split::train);
  const int64_t n = std::min<int64_t>(options.common.batch, dataset->size());
  ShuffledSampler sampler(dataset->size(), n, /*seed=*/0);
  LoaderOptions loading;
  loading.views = {{find_augmentation(options.augmentation), options.size}};
  loading.workers = options.workers;
  loading.log = [](const std::string& line) { print(stderr, "{}\n", line); };
  Loader loader(*dataset, sampler, loading);
  loader.start(0, 0);
  Tensor images({n, options.size, options.size, 3}, options.common.compute(), device);
  Tensor params({n * int64_t(sizeof(ImageParams))}, DType::u8, device), pixels;
  auto begin = std::chrono::steady_clock::now();
  for (int64_t step = -kWarmUp; step < options.steps; ++step) {
    if (step == 0) {
      k.synchronize(ctx);
      begin = std::chrono::steady_clock::now();
    }
    const Batch* batch = loader.next();
    const View& view = batch->views[0];
    const int64_t bytes = int64_t(view.pixels.size());
    if (pixels.empty() || pixels.numel() < bytes) pixels = Tensor({bytes + bytes / 4}, DType::u8, device);
    Tensor part = pixels.view(0, {bytes});
    k.upload(ctx, view.pixels.data(), part);
    k.upload(ctx, view.params.data(), params);
    k.augment_images(ctx, Normalization{}, params, pixels, images);
  }
  k.synchronize(ctx);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  const double rate = double(n * options.steps) / seconds;
  if (options.common.json)
    print("{}\n", nlohmann::ordered_json{{"images_per_second", rate},
                                         {"workers", options.workers},
                                         {"batch", n},
                                         {"augmentation", options.augmentation}}
                      .dump());
  else
    print("{}: {:.0f} images/s with {}, {} px, {} workers\n", options.data, rate, options.augmentation, options.size,
          options.workers);
}

}  // namespace

void add_bench_data(CLI::App& bench) {
  CLI::App& command = *bench.add_subcommand("data", "time decoding and augmenting");
  auto options = std::make_shared<BenchDataOptions>();
  command.add_option("--data", options->data, "folder of images")->required();
  command.add_option("--augmentation", options->augmentation, "recipe of augmentation")->capture_default_str();
  command.add_option("--size", options->size, "image size")->check(CLI::PositiveNumber)->capture_default_str();
  command.add_option("--workers", options->workers, "threads that decode")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_option("--steps", options->steps, "timed batches")->check(CLI::PositiveNumber)->capture_default_str();
  options->common.trains = true;
  add_common(command, options->common);
  add_example(command, "coss bench data --data imagenet --workers 16 --batch 256");
  command.callback([options] { run_bench_data(*options); });
}

}  // namespace coss
