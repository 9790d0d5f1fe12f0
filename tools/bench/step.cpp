// `coss bench`: the speed and memory of one training step on synthetic images, whole and in its two parts.
#include "training/step.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "engine/print.h"
#include "engine/trace.h"
#include "evaluation/loaded_network.h"
#include "losses/method.h"
#include "tools/command.h"
#include "tools/commands.h"

namespace coss {
namespace {

struct BenchOptions {
  CommonOptions common;
  std::string teacher = "resnet50", student = "resnet18";
  int32_t size = 224;
  int64_t steps = 5;
  bool trace = false, eager = false;
};

// Seconds of one call of `work`: the median of several groups. The calls of a group run without waiting in between,
// like the steps of a training run. On the CPU, where every call waits, a group is one call.
double median_seconds(int64_t calls, Device device, const std::function<void()>& work) {
  constexpr int kWarmUp = 3, kGroups = 5;  // eager, recorded, replayed
  const int64_t group = device == Device::cuda ? calls : 1, groups = device == Device::cuda ? kGroups : calls;
  const auto finish = [&] { kernels(device).synchronize(context(device)); };
  for (int i = 0; i < (device == Device::cuda ? kWarmUp : 1); ++i) work();
  finish();
  std::vector<double> times;
  for (int64_t g = 0; g < groups; ++g) {
    const auto begin = std::chrono::steady_clock::now();
    for (int64_t i = 0; i < group; ++i) work();
    finish();
    times.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() / double(group));
  }
  std::nth_element(times.begin(), times.begin() + groups / 2, times.end());
  return times[size_t(groups / 2)];
}

// Memory that the process has taken: the peak of host memory, or GPU memory, which is never given back.
int64_t memory_taken(Device device) {
  if (device == Device::cuda) {
    DeviceInfo info;
    kernels(device).probe(info);
    return int64_t(info.memory_bytes - info.free_bytes);
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t(usage.ru_maxrss) * 1024;
}

void run_bench(const BenchOptions& options) {
  apply(options.common);
  const Device device = options.common.place();
  const DType dtype = options.common.compute();
  if (options.trace) start_trace(device);
  const auto teacher = random_network(options.teacher, device, dtype, /*seed=*/1);
  Params params;
  const Scope scope(params);
  const ModelInfo& info = find_model(options.student);
  const auto student = info.make(scope / "student", info.classes);
  const auto method =
      make_method(MethodOptions("coss"), {.scope = scope, .student = *student, .teacher = teacher->network.get()});
  params.allocate(device, dtype, /*seed=*/0);
  OptimizerOptions sgd;
  sgd.weight_decay = 1e-4f;
  const auto optimizer = make_optimizer(sgd, params);
  StepOptions step_options{device, dtype, {options.size}};
  step_options.record = !options.eager;
  Step step(*method, params, *optimizer, step_options);

  const int64_t n = options.common.batch;
  Tensor images({n, options.size, options.size, 3}, dtype, device);
  Tensor noise(images.shape(), DType::f32, device);
  kernels(device).random_normal(context(device), 0, 0, 0.0f, 1.0f, noise);
  kernels(device).cast(context(device), noise, images);
  noise = {};
  context(device).pool().trim();

  const double whole = median_seconds(options.steps, device, [&] {
    step.run_on(images);
    step.update(1e-4);
  });
  if (options.trace) print(stderr, "{}", trace_summary());
  const int64_t peak = memory_taken(device);
  const double teacher_alone = median_seconds(options.steps, device, [&] {
    const NoGrad no_grad;
    (*teacher)->features(Var(images), Mode::eval);
  });
  const double rate = double(n) / whole, teacher_rate = double(n) / teacher_alone;
  const double student_rate = double(n) / std::max(whole - teacher_alone, 1e-9);
  if (options.common.json)
    print("{}\n",
          nlohmann::ordered_json{{"dtype", dtype_name(dtype)},
                                 {"images_per_second", rate},
                                 {"teacher_images_per_second", teacher_rate},
                                 {"student_images_per_second", student_rate},
                                 {"peak_bytes", peak},
                                 {"pool_bytes", context(device).pool().bytes_peak() + step.own_pool()->bytes_peak()},
                                 {"steps", options.steps}}
              .dump());
  else
    print("{} -> {}, {} px, batch {}, {}: {:.1f} images/s (teacher {:.1f}, student {:.1f}), {:.2f} GB\n",
          options.teacher, options.student, options.size, n, dtype_name(dtype), rate, teacher_rate, student_rate,
          double(peak) * 1e-9);
}

}  // namespace

void add_bench(CLI::App& program) {
  CLI::App& command = *program.add_subcommand(
      "bench", "time a CoSS training step, losses, feeding images (data), mining, or loading a file");
  auto options = std::make_shared<BenchOptions>();
  options->common.batch = 64;
  options->common.trains = true;
  command.add_option("--teacher", options->teacher, "network")->capture_default_str();
  command.add_option("--student", options->student, "network")->capture_default_str();
  command.add_option("--size", options->size, "image size")->check(CLI::PositiveNumber)->capture_default_str();
  command.add_option("--steps", options->steps, "timed steps; the median counts")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_flag("--trace", options->trace, "print the time of each kernel on stderr");
  command.add_flag("--eager", options->eager, "on a GPU: launch every kernel instead of replaying a recorded step");
  add_common(command, options->common);
  add_example(command, "coss bench --teacher resnet50 --student resnet18 --batch 64 --dtype bf16");
  add_bench_load(command);
  add_bench_data(command);
  add_bench_mining(command);
  add_bench_losses(command);
  command.require_subcommand(0, 1);
  command.callback([options, &command] {
    if (command.get_subcommands().empty()) run_bench(*options);
  });
}

}  // namespace coss
