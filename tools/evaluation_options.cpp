// Declares the shared options and turns them into a network and feature settings.
#include "tools/evaluation_options.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "engine/print.h"
#include "engine/text.h"
#include "formats/layouts.h"

namespace coss {

std::unique_ptr<LoadedNetwork> EvaluationOptions::network(Classifier classifier) const {
  auto network = weights.empty()
                     ? random_network(model, common.place(), common.compute())
                     : load_network(Checkpoint(weights, model, from), classifier, common.place(), common.compute());
  if (!weights.empty()) print(stderr, "{}: {}\n", weights, network->report);
  print(stderr, "computing in {} on {}\n", dtype_name(common.compute()), name_of(common.place()));
  return network;
}

FeatureOptions EvaluationOptions::features(const LoadedNetwork& network, const std::string& label) const {
  FeatureOptions options;
  options.image_size = image_size > 0 ? image_size : int32_t(network.image_size);
  options.batch = common.batch;
  options.workers = workers;
  options.max_broken_share = broken;
  options.normalization = network.normalization;
  options.bicubic = network.bicubic;
  std::copy(mean.begin(), mean.end(), options.normalization.mean);
  std::copy(stddev.begin(), stddev.end(), options.normalization.stddev);
  options.log = [](const std::string& line) { print(stderr, "{}\n", line); };
  if (isatty(STDERR_FILENO))
    options.progress = [label](int64_t done, int64_t size) {
      rewrite_line(stderr, fmt::format("{} {}/{}", label, done, size), done == size);
    };
  return options;
}

void add_from(CLI::App& command, std::string& from) {
  std::vector<std::string> layouts = layout_names();
  layouts.insert(layouts.begin(), "auto");
  command.add_option("--from", from, "the layout of the weights, see 'coss convert'")
      ->check(CLI::IsMember(layouts))
      ->capture_default_str();
}

CLI::Option* add_split(CLI::App& command, DataSource& data) {
  const CLI::Validator share(
      [](const std::string& text) -> std::string {
        const std::optional<double> value = number_of(text);
        const bool good = value && *value > 0 && *value < 1;
        return good ? "" : fmt::format("'{}' is no share of the images: give a number above 0 and below 1", text);
      },
      "");
  CLI::Option* split =
      command
          .add_option("--split", data.held_out,
                      "hold out this share of each class of --data as test images, if --data is not split by itself")
          ->check(share)
          ->type_name("SHARE");
  command.add_option("--split-seed", data.seed, "seed that chooses the images that --split holds out")
      ->capture_default_str()
      ->needs(split);
  return split;
}

void add_evaluation_options(CLI::App& command, EvaluationOptions& options, bool required) {
  command.add_option("--model", options.model, "network, see 'coss models'")->required(required);
  command
      .add_option(
          "--weights", options.weights,
          required ? "PyTorch or safetensors file; '' takes random values instead" : "PyTorch or safetensors file")
      ->required(required)
      ->type_name("FILE");
  add_from(command, options.from);
  command.add_option("--data", options.data.path, "CIFAR binaries, class folders, a flat folder or a list file")
      ->required(required)
      ->type_name("PATH");
  command.add_option("--size", options.image_size, "height and width of the images; 0: those of the model")
      ->check(within({0, kImageSizeBounds.most}))
      ->capture_default_str();
  command.add_option("--workers", options.workers, "threads that decode images")
      ->check(within(kWorkerBounds))
      ->capture_default_str();
  command.add_option("--broken", options.broken, "share of the images that may be unreadable; more are an error")
      ->check(within(kShareBounds))
      ->capture_default_str();
  command
      .add_option("--mean", options.mean,
                  "mean of each channel, of values in [0,1]; else as the weights say, or ImageNet's")
      ->check(within(kMeanBounds))
      ->expected(3);
  command
      .add_option("--std", options.stddev, "standard deviation of each channel; else as the weights say, or ImageNet's")
      ->check(within(kStddevBounds))
      ->expected(3);
  add_common(command, options.common);
}

}  // namespace coss
