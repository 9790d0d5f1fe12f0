// `coss bench losses`: time and memory of the loss alone, value and gradient, from given features, logits or maps.
#include <fmt/format.h>
#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/context.h"
#include "engine/print.h"
#include "engine/text.h"
#include "losses/frame/drawn.h"
#include "tools/command.h"
#include "tools/commands.h"

namespace coss {
namespace {

struct BenchLossesOptions {
  CommonOptions common;
  std::vector<std::string> methods;
  DrawnSizes sizes;
  int64_t steps = 7;
};

// A line of /proc/self/status in bytes; 0 where there is none.
int64_t status_bytes(const std::string& key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(key)) return std::stoll(line.substr(key.size() + 1)) * 1024;
  return 0;
}

struct Cost {
  double seconds = 0, processor_seconds = 0;  // processor_seconds: of all threads; a busy machine does not lengthen it
  int64_t peak_bytes = 0;                     // growth of the process above its inputs; on a GPU the pool's peak
  int64_t pool_bytes = 0;                     // the pool's peak above the inputs
};

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + int64_t(values.size() / 2), values.end());
  return values[values.size() / 2];
}

Cost cost_of(const MethodInfo& method, const BenchLossesOptions& options, Device device) {
  Context& ctx = context(device);
  const auto perform = [&](DrawnInputs& inputs, const LossCall& loss) {
    {
      Tape tape;
      tape.backward(loss().total);
    }
    inputs.forget_gradients();
    kernels(device).synchronize(ctx);
  };
  // A first call loads the code, starts the threads and makes the libraries' plans before anything is measured.
  {
    PoolScope::Memory memory(device);
    const PoolScope scope(ctx, memory);
    DrawnInputs few(options.sizes, device, std::min<int64_t>(options.common.batch, 16));
    perform(few, method.loss_alone(few));
  }
  malloc_trim(0);

  PoolScope::Memory memory(device);
  const PoolScope scope(ctx, memory);
  DrawnInputs inputs(options.sizes, device, options.common.batch);
  const LossCall loss = method.loss_alone(inputs);
  kernels(device).synchronize(ctx);
  ctx.pool().trim();  // in this scope it is the pool of `memory`
  ctx.pool().reset_peak();
  const size_t inputs_bytes = ctx.pool().bytes_in_use();
  std::ofstream("/proc/self/clear_refs") << 5;  // resets the peak
  const int64_t before = status_bytes("VmRSS:");

  Cost cost;
  std::vector<double> seconds, processor;
  for (int64_t i = -1; i < options.steps; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    const std::clock_t begin_processor = std::clock();
    perform(inputs, loss);
    if (i < 0) continue;
    processor.push_back(double(std::clock() - begin_processor) / CLOCKS_PER_SEC);
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  cost.seconds = median(seconds);
  cost.processor_seconds = median(processor);
  cost.pool_bytes = int64_t(ctx.pool().bytes_peak() - inputs_bytes);
  cost.peak_bytes = device == Device::cpu ? status_bytes("VmHWM:") - before : cost.pool_bytes;
  return cost;
}

void run_bench_losses(const BenchLossesOptions& options) {
  apply(options.common);
  const Device device = options.common.place();
  std::vector<std::string> known;
  for (const MethodInfo& method : methods())
    if (method.loss_alone) known.push_back(method.name);
  for (const std::string& name : options.methods)
    COSS_CHECK(std::find(known.begin(), known.end(), name) != known.end(), unknown_name("loss", name, known));
  const std::set<std::string> wanted(options.methods.begin(), options.methods.end());

  nlohmann::ordered_json list = nlohmann::ordered_json::object();
  if (!options.common.json) print("{:<12} {:>10} {:>10} {:>10}\n", "loss", "ms", "MiB", "pool MiB");
  for (const MethodInfo& method : methods()) {
    if (!method.loss_alone || (!wanted.empty() && !wanted.contains(method.name))) continue;
    const Cost cost = cost_of(method, options, device);
    list[method.name] = {{"seconds", cost.seconds},
                         {"processor_seconds", cost.processor_seconds},
                         {"peak_bytes", cost.peak_bytes},
                         {"pool_bytes", cost.pool_bytes}};
    if (!options.common.json)
      print("{:<12} {:>10.3f} {:>10.1f} {:>10.1f}\n", method.name, 1e3 * cost.seconds,
            double(cost.peak_bytes) / (1 << 20), double(cost.pool_bytes) / (1 << 20));
  }
  if (options.common.json)
    print("{}\n", nlohmann::ordered_json{{"batch", options.common.batch}, {"losses", list}}.dump());
}

}  // namespace

void add_bench_losses(CLI::App& bench) {
  CLI::App& command = *bench.add_subcommand("losses", "time the loss of each method alone, value and gradient");
  auto options = std::make_shared<BenchLossesOptions>();
  const auto size = [&](const char* name, int64_t& value, const char* help) {
    command.add_option(name, value, help)->check(CLI::PositiveNumber)->capture_default_str();
  };
  command.add_option("--methods", options->methods, "only these, with commas between")->delimiter(',');
  size("--batch", options->common.batch, "rows");
  size("--width", options->sizes.width, "width of the features");
  size("--classes", options->sizes.classes, "classes of the logits");
  size("--map", options->sizes.map, "height and width of feature maps");
  size("--channels", options->sizes.channels, "channels of the feature maps");
  size("--queue", options->sizes.queue, "rows of a queue");
  size("--queue-width", options->sizes.queue_width, "width of the embeddings in queues and memory banks");
  size("--negatives", options->sizes.negatives, "negatives that CRD draws for each image");
  size("--bank", options->sizes.bank, "rows of CRD's memory banks");
  size("--steps", options->steps, "timed calls; the median counts");
  command.add_option("--device", options->common.device, "where to compute: auto takes a GPU if one can be used")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}))
      ->capture_default_str();
  command.add_option("--threads", options->common.threads, "threads; 0: one per core")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  add_json(command, options->common);
  add_example(command, "coss bench losses --methods coss --batch 256 --width 2048");
  command.callback([options] { run_bench_losses(*options); });
}

}  // namespace coss
