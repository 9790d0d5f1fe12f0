// The options that eval, embed and mine share: which network, which weights, which images.
#pragma once
#include <string>
#include <vector>

#include "evaluation/features.h"
#include "evaluation/loaded_network.h"
#include "tools/command.h"

namespace coss {

struct EvaluationOptions {
  CommonOptions common;
  std::string model, weights, from = "auto";
  DataSource data;
  int32_t image_size = 0;  // 0: the model's own
  int workers = 2;
  std::vector<float> mean, stddev;  // empty: those that the weights were trained with

  std::unique_ptr<LoadedNetwork> network(Classifier classifier) const;
  // With a counter on stderr when that is a terminal.
  FeatureOptions features(const LoadedNetwork& network, const std::string& label) const;
};

// --from.
void add_from(CLI::App& command, std::string& from);
// --split and --split-seed, for data without a split of its own. Gives --split.
CLI::Option* add_split(CLI::App& command, DataSource& data);
// --model --weights --from --data --size --workers --mean --std and the common options.
void add_evaluation_options(CLI::App& command, EvaluationOptions& options, bool required = true);

}  // namespace coss
