// What a recipe leaves open (auto, 0, nothing) is settled here, once, for this machine and these weights. The trainer
// takes the result and decides nothing of it again.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "engine/types.h"
#include "evaluation/checkpoint.h"
#include "training/config.h"

namespace coss {

struct ResolvedRecipe {
  // The complete recipe, as config.json keeps it: device and dtype are not "auto", data.mean and data.stddev are given.
  Config config;
  Device device = Device::cpu;    // config.device; Device::dry for a trainer that only rehearses
  DType dtype = DType::f32;       // config.dtype
  Normalization normalization;    // config.data.mean and .stddev
  std::vector<ViewConfig> views;  // one for each view that the method takes of an image; nothing is left out
  int64_t micro_batch = 0;        // images that are computed at once: train.batch / train.accumulate
  int64_t micro_anchors = 0;      // those of them that start a neighborhood; the rest are their neighbors
  std::unique_ptr<Checkpoint> teacher, student;  // opened here, closed by the trainer; null where the recipe has none
};

// Opens the weights that the recipe names and settles the rest. `continued` is the folder of the run that is continued,
// empty for a new one: what `config` leaves open is then as the run was started. Throws Error on a device or dtype that
// this machine lacks, and on weights that do not fit their model.
ResolvedRecipe resolve(Config config, const std::string& continued = "");

}  // namespace coss
