// `coss train`: reads and resolves a recipe, makes the run folder, and runs the trainer.
#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "engine/kernels.h"
#include "engine/trace.h"
#include "evaluation/signals.h"
#include "formats/atomic_file.h"
#include "formats/outputs.h"
#include "tools/command.h"
#include "tools/commands.h"
#include "training/recipe.h"
#include "training/resolve.h"
#include "training/trainer.h"

namespace coss {
namespace {

struct TrainOptions {
  CommonOptions common;  // declared for the command line; their values are read by take_short_forms()
  std::string recipe, out, trace;
  std::vector<std::string> overrides;
  bool resume = false, dry_run = false, force = false;
};

// The options that all commands share are short forms of recipe keys here.
struct ShortForm {
  const char *option, *key;
};
constexpr ShortForm kShortForms[] = {{"--dtype", "dtype"},
                                     {"--tf32", "tf32"},
                                     {"--device", "device"},
                                     {"--threads", "threads"},
                                     {"--batch", "train.batch"}};

// Those that were given, as overrides. They win over the recipe and over the other overrides.
void take_short_forms(const CLI::App& command, std::vector<std::string>& overrides) {
  for (const ShortForm& form : kShortForms)
    if (const CLI::Option* option = command.get_option(form.option); option->count() > 0)
      overrides.push_back(fmt::format("{}={}", form.key, option->as<std::string>()));
}

// Everything but the run. On the processor a step is made without memory, so that it takes no time. A GPU makes one.
void rehearse(ResolvedRecipe recipe, std::FILE* screen) {
  const Device device = recipe.device;
  if (device == Device::cpu) recipe.device = Device::dry;
  Trainer trainer(std::move(recipe));
  const size_t bytes = trainer.rehearse();
  DeviceInfo info;
  kernels(device).probe(info);
  fmt::print(screen, "{}\nmemory   a step needs at least {:.1f} GB of {:.1f} GB\n", trainer.summary(),
             1e-9 * double(bytes), 1e-9 * double(info.memory_bytes));
  if (bytes > info.memory_bytes)
    fmt::print(stderr, "coss: this machine does not have the memory: lower train.batch, or raise train.accumulate\n");
}

// The trace must not be written to the run folder, which holds the files of the run only.
void check_trace(const TrainOptions& options, const Config& config) {
  check_output(
      options.trace,
      {options.recipe, config.data.path, config.teacher.weights, config.student.weights, config.neighbors.file},
      options.force);
  const auto place = [](const std::string& path) { return std::filesystem::weakly_canonical(path); };
  const std::filesystem::path relative = place(options.trace).lexically_relative(place(options.out));
  COSS_CHECK(options.out.empty() || relative.empty() || *relative.begin() == "..",
             fmt::format("{} is in the run folder: write the trace elsewhere", options.trace));
}

// Runs the trainer. If a run is stopped or fails before its first step but its folder is kept (it has mined neighbors),
// the user is told how to continue it; else nothing stays.
TrainResult run_in(RunFolder& folder, Trainer& trainer, Progress& progress, const std::string& resume_command) {
  try {
    return trainer.run(folder, progress);
  } catch (const Interrupted&) {
    if (!folder.is_kept()) throw;
    TrainResult result;
    result.interrupted = true;
    return result;
  } catch (const Error& error) {
    if (!folder.is_kept() || trainer.steps() > 0 || folder.last_checkpoint()) throw;
    throw Error(fmt::format("{}\n{} is kept. When the cause is removed, continue with: {}", error.what(), folder.path(),
                            resume_command));
  }
}

void run_train(const TrainOptions& options) {
  const bool continues = options.resume && RunFolder::holds_run(options.out);
  ResolvedRecipe recipe =
      resolve(load_config(options.recipe, options.overrides), continues ? options.out : std::string());
  const Config config = recipe.config;
  prepare_device(recipe.device, recipe.dtype, config.tf32, config.threads);
  std::FILE* screen = options.common.json ? stderr : stdout;
  fmt::print(screen, "{}\n", to_json(config));
  if (!options.trace.empty()) {
    check_trace(options, config);
    start_trace(recipe.device);
  }

  const SignalScope signals;
  if (options.dry_run) return rehearse(std::move(recipe), screen);
  Trainer trainer(std::move(recipe));
  fmt::print(screen, "{}\n", trainer.summary());
  COSS_CHECK(!options.out.empty(), "coss train: --out DIR is missing: the folder for the run");
  RunFolder folder = continues ? RunFolder::resume(options.out, config) : RunFolder::create(options.out, config);
  if (options.resume && !continues) fmt::print(screen, "{} holds no run yet: a new one starts\n", options.out);
  folder.log(trainer.summary());
  Progress progress(screen);
  const std::string resume_command = fmt::format("coss train {0}/config.json --out {0} --resume", options.out);
  const TrainResult result = run_in(folder, trainer, progress, resume_command);
  progress.finish();
  if (!options.trace.empty()) {
    write_file_atomically(options.trace, trace_json());
    fmt::print(screen, "{}", trace_summary());
  }
  if (result.interrupted) {
    fmt::print(stderr, "coss: stopped at step {}; continue with: {}\n", result.steps, resume_command);
    throw Exit{interrupt_exit_code()};
  }
  if (options.common.json) {
    nlohmann::ordered_json summary{{"steps", result.steps},
                                   {"seconds", result.seconds},
                                   {"images_per_second", result.images_per_second},
                                   {"student", result.student}};
    for (const auto& [name, value] : result.last) summary["last"][name] = value;
    fmt::print("{}\n", summary.dump());
  } else {
    fmt::print("done: {} steps in {}, {:.0f} images/s; the student is {}\n", result.steps,
               format_duration(result.seconds), result.images_per_second, result.student);
  }
}

}  // namespace

void add_train(CLI::App& program) {
  CLI::App& command = *program.add_subcommand("train", "train a student by a recipe");
  auto options = std::make_shared<TrainOptions>();
  command.add_option("recipe", options->recipe, "the recipe: JSON with comments")->required()->type_name("RECIPE.json");
  command.add_option("overrides", options->overrides, "values in place of the recipe's: key.sub=value");
  command.add_option("--out", options->out, "the folder for the run; it must not hold a run yet, or see --resume")
      ->type_name("DIR");
  command.add_flag("--resume", options->resume,
                   "continue the run in --out from its last complete checkpoint; start it if there is none");
  command.add_flag("--dry-run", options->dry_run,
                   "print the resolved recipe, check data, weights and one step, write nothing");
  command.add_option("--trace", options->trace, "write a trace of all kernels for chrome://tracing")->type_name("FILE");
  add_force(command, options->force);
  options->common.trains = true;
  add_common(command, options->common);
  for (const ShortForm& form : kShortForms)
    if (CLI::Option* option = command.get_option(form.option); option->get_items_expected_max() > 0)  // a flag has none
      option->default_str(fmt::format("the recipe's {}", form.key));
  add_example(command,
              "coss train recipes/coss_resnet56_resnet20_cifar10.json data.path=cifar-10-batches-bin "
              "teacher.weights=resnet56-4bfd9763.th --out runs/cifar10\n\nRecipe keys and defaults:\n" +
                  config_help());
  command.callback([options, &command] {
    take_short_forms(command, options->overrides);
    run_train(*options);
  });
}

}  // namespace coss
