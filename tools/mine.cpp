// `coss mine`: finds the nearest neighbors of every training image, from stored features or with a network.
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <nlohmann/json.hpp>

#include "evaluation/neighbors.h"
#include "evaluation/signals.h"
#include "formats/outputs.h"
#include "tools/commands.h"
#include "tools/evaluation_options.h"

namespace coss {
namespace {

struct MineOptions {
  EvaluationOptions evaluation;
  std::string features, out;
  int64_t k = 384;
  double memory_gib = 0;
  bool force = false;
};

void run_mine(const MineOptions& options) {
  const CommonOptions& common = options.evaluation.common;
  apply(common);
  const std::vector<std::string> inputs{options.features, options.evaluation.weights, options.evaluation.data.path};
  check_output(options.out, inputs, options.force);
  if (options.features.empty()) check_output(passing_features(options.out), inputs, options.force);
  const SignalScope signals;
  const auto begin = std::chrono::steady_clock::now();
  MiningOptions mining;
  mining.k = options.k;
  mining.device = common.place();
  mining.memory_bytes = size_t(options.memory_gib * double(size_t(1) << 30));
  if (isatty(STDERR_FILENO))
    mining.progress = [](int64_t done, int64_t rows) {
      fmt::print(stderr, "\rneighbors {}/{}{}", done, rows, done == rows ? "\n" : "");
    };

  if (!options.features.empty()) {
    mine_file(options.features, options.out, mining);
  } else {
    const EvaluationOptions& from = options.evaluation;
    COSS_CHECK(!from.model.empty() && !from.weights.empty() && !from.data.path.empty(),
               "coss mine: give --features FILE.npy, or --model, --weights and --data");
    const auto dataset = open_dataset(from.data, Split::train);
    const auto network = from.network(Classifier::optional);
    mine_network(**network, *dataset, common.compute(), from.features(*network, "images"), options.out, mining);
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  if (common.json)
    fmt::print("{}\n",
               nlohmann::ordered_json{{"neighbors", options.out}, {"k", options.k}, {"seconds", seconds}}.dump());
  else
    fmt::print("{}: the {} nearest of every image, in {:.1f} s\n", options.out, options.k, seconds);
}

}  // namespace

void add_mine(CLI::App& program) {
  CLI::App& command = *program.add_subcommand("mine", "find the nearest neighbors of every training image, exactly");
  auto options = std::make_shared<MineOptions>();
  CLI::Option* features =
      command.add_option("--features", options->features, "features (images, width) as 'coss embed' writes them")
          ->type_name("FILE.npy");
  command.add_option("--k", options->k, "neighbors of each image")->check(CLI::PositiveNumber)->capture_default_str();
  command.add_option("--out", options->out, "the file to write, (images, k) 32-bit integers")
      ->required()
      ->type_name("FILE.npy");
  add_force(command, options->force);
  command
      .add_option("--memory", options->memory_gib,
                  "GiB that features, scores and results may take; if it is left out 4, or 60 % of a GPU's free memory")
      ->check(CLI::PositiveNumber);
  add_evaluation_options(command, options->evaluation, /*required=*/false);
  add_split(command, options->evaluation.data)->excludes(features);
  add_example(command, "coss mine --features features/features.npy --k 384 --out neighbors.npy");
  command.callback([options] { run_mine(*options); });
}

}  // namespace coss
