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
  int32_t image_size = 0;  // 0: that of the model
  int workers = 2;
  double broken = 0.01;
  std::vector<float> mean, stddev;  // empty: those that the weights were trained with

  // Reads the network and says on stderr what was loaded. With empty weights it has random values.
  std::unique_ptr<LoadedNetwork> network(Classifier classifier) const;
  // The options for extract_features(), with a counter on stderr if that is a terminal; `label` stands before it.
  FeatureOptions features(const LoadedNetwork& network, const std::string& label) const;
};

// Adds --from.
void add_from(CLI::App& command, std::string& from);
// Adds --split and --split-seed, for data that is not split by itself. Returns --split.
CLI::Option* add_split(CLI::App& command, DataSource& data);
// Adds --model --weights --from --data --size --workers --broken --mean --std and the common options.
void add_evaluation_options(CLI::App& command, EvaluationOptions& options, bool required = true);

}  // namespace coss
