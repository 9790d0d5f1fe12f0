// `coss bench`: the speed and memory of one training step on synthetic images, whole and in its two parts.
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "engine/trace.h"
#include "losses/method.h"
#include "tools/command.h"
#include "tools/commands.h"
#include "tools/loaded_network.h"
#include "tools/step.h"

namespace coss {
namespace {

struct BenchOptions {
  CommonOptions common;
  std::string teacher = "resnet50", student = "resnet18";
  int32_t size = 224;
  int64_t steps = 5;
  bool trace = false;
};

double seconds_of(const std::function<void()>& work, Device device) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  kernels(device).synchronize(context(device));
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// The middle of `steps` timings after one warm-up.
double median_seconds(int64_t steps, Device device, const std::function<void()>& work) {
  work();
  std::vector<double> times;
  for (int64_t i = 0; i < steps; ++i) times.push_back(seconds_of(work, device));
  std::nth_element(times.begin(), times.begin() + steps / 2, times.end());
  return times[size_t(steps / 2)];
}

void run_bench(const BenchOptions& options) {
  apply(options.common);
  const Device device = options.common.place();
  const DType dtype = options.common.compute();
  if (options.trace) start_trace(device);
  const auto teacher = load_network(options.teacher, "", Classifier::optional, device, dtype, /*seed=*/1);
  Params params;
  const Scope scope(params);
  const ModelInfo& info = find_model(options.student);
  const auto student = info.make(scope / "student", info.classes);
  const auto method = find_method("coss").make(MethodOptions{}, scope, *student, teacher->network.get());
  params.allocate(device, dtype, /*seed=*/0);
  OptimizerOptions sgd;
  sgd.weight_decay = 1e-4f;
  const auto optimizer = make_optimizer(sgd, params);

  const int64_t n = options.common.batch;
  StepInputs inputs;
  inputs.images = Tensor({n, options.size, options.size, 3}, dtype, device);
  Tensor noise(inputs.images.shape(), DType::f32, device), scalars({kScalarCount}, DType::f32, device);
  kernels(device).random_normal(context(device), 0, 0, 0.0f, 1.0f, noise);
  kernels(device).cast(context(device), noise, inputs.images);
  noise = {};
  inputs.step = Tensor::from(std::vector<int64_t>{0}, {1}, device);
  std::vector<float> values(kScalarCount, 0.0f);
  values[kLearningRate] = 1e-4f;
  values[kGradScale] = values[kStep] = 1;
  kernels(device).upload(context(device), values.data(), scalars);

  auto update = [&] { optimizer->step(params, scalars); };
  const double whole = median_seconds(options.steps, device, [&] {
    Tape tape;
    tape.backward(method->forward(inputs).total);
    update();
  });
  if (options.trace) fmt::print(stderr, "{}", trace_summary());
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const int64_t peak = int64_t(usage.ru_maxrss) * 1024;
  const double teacher_alone = median_seconds(options.steps, device, [&] {
    const NoGrad no_grad;
    (*teacher)->features(Var(inputs.images), Mode::eval);
  });
  const double rate = double(n) / whole, teacher_rate = double(n) / teacher_alone;
  const double student_rate = double(n) / std::max(whole - teacher_alone, 1e-9);
  if (options.common.json)
    fmt::print("{}\n", nlohmann::ordered_json{{"images_per_second", rate},
                                              {"teacher_images_per_second", teacher_rate},
                                              {"student_images_per_second", student_rate},
                                              {"peak_bytes", peak},
                                              {"pool_bytes", context(device).pool().bytes_peak()},
                                              {"steps", options.steps}}
                           .dump());
  else
    fmt::print("{} -> {}, {} px, batch {}, {}: {:.1f} images/s (teacher {:.1f}, student {:.1f}), {:.2f} GB\n",
               options.teacher, options.student, options.size, n, options.common.dtype, rate, teacher_rate,
               student_rate, double(peak) * 1e-9);
}

}  // namespace

void add_bench(CLI::App& program) {
  CLI::App& command = *program.add_subcommand("bench", "time a CoSS training step on synthetic images");
  auto options = std::make_shared<BenchOptions>();
  options->common.batch = 64;
  command.add_option("--teacher", options->teacher, "network")->capture_default_str();
  command.add_option("--student", options->student, "network")->capture_default_str();
  command.add_option("--size", options->size, "image size")->check(CLI::PositiveNumber)->capture_default_str();
  command.add_option("--steps", options->steps, "timed steps; the median counts")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_flag("--trace", options->trace, "print the time of each kernel on stderr");
  add_common(command, options->common);
  add_example(command, "coss bench --teacher resnet50 --student resnet18 --batch 64 --dtype bf16");
  command.callback([options] { run_bench(*options); });
}

}  // namespace coss
