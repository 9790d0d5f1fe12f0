// Config: a training recipe as it was written. Defaults are here; the one table of its keys is in recipe.cpp, and
// parsing, overrides, error messages, printing and the help listing all come from it. What it leaves open is settled by
// resolve() (training/resolve.h).
#pragma once
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "engine/kernel_params.h"
#include "losses/method.h"
#include "training/optimizer.h"
#include "training/schedule.h"

namespace coss {

using Channels = std::array<float, 3>;  // red, green, blue

// Views of each image that are made alike.
struct ViewConfig {
  std::string augmentation;  // empty: data.augmentation
  int64_t image_size = 0;    // 0: data.image_size
  int64_t count = 1;
};

struct DataConfig {
  std::string path;
  std::string test;         // other images, for tests; for data that is not split by itself
  double split = 0;         // share of each class that is held out instead; 0: none
  uint64_t split_seed = 0;  // which images these are
  int64_t image_size = 224;
  std::string augmentation = "moco_v2";
  std::vector<ViewConfig> views;  // in the order in which the method takes them; empty: all as above
  int workers = 2;
  double broken = 0.01;                  // share of the images that may be unreadable
  std::optional<Channels> mean, stddev;  // of pixels in [0, 1]; none: as student.weights want, else ImageNet's
};

struct TeacherConfig {
  std::string model;  // empty: the method has none
  std::string weights;
  std::string from = "auto";  // layout of the weights
};

struct StudentConfig {
  std::string model;
  std::string weights;  // empty: random initial values
  std::string from = "auto";
  // Of the student's classifier; 0: those of the data if the method needs labels, else those of the published network.
  int64_t classes = 0;
};

struct NeighborsConfig {
  std::string file;     // .npy file that `coss mine` wrote; empty: the teacher mines before the first step
  int64_t nearest = 0;  // neighbors per anchor; 0: a plain shuffled batch
  int64_t pool = 31;    // they are drawn from this many nearest
  bool unique = false;  // no image comes twice in a batch, as far as the stored neighbors allow
};

struct TrainConfig {
  int64_t batch = 256;     // images per step, anchors and neighbors together
  int64_t epochs = 100;    // of anchors
  int64_t max_steps = 0;   // stop after this many steps; 0: after `epochs`
  int64_t accumulate = 1;  // a step is this many micro-batches of batch / accumulate images
  double clip_norm = 0;    // 0: off
  double ema_decay = 0;    // 0: off
};

struct CheckpointConfig {
  int64_t every_steps = 1000;  // 0: one checkpoint at the end
  int64_t keep = 2;            // how many of the newest are kept; 0: all
};

struct LogConfig {
  int64_t every_steps = 20;
};

struct KnnConfig {
  int64_t every_epochs = 0, every_steps = 0;  // 0: off
  int64_t k = 20;
};

struct Config {
  uint64_t seed = 0;
  std::string device = "auto", dtype = "auto";
  bool tf32 = false;  // on a GPU: fp32 products may round their inputs to TF32
  int threads = 0;    // 0: one per core
  DataConfig data;
  TeacherConfig teacher;
  StudentConfig student;
  MethodOptions method{"coss"};
  NeighborsConfig neighbors;
  TrainConfig train;
  OptimizerOptions optimizer;
  ScheduleOptions schedule;
  CheckpointConfig checkpoint;
  LogConfig log;
  KnnConfig knn;

  // Images that start a neighborhood in each step: train.batch / (1 + neighbors.nearest).
  int64_t anchors() const { return train.batch / (1 + neighbors.nearest); }
};

// Checks that choices exist, that numbers are in their ranges, and that values fit together. Throws one Error with all
// complaints.
void check(const Config& config);

// How each view that the method takes of an image is made, one entry a view; nothing is left out.
std::vector<ViewConfig> list_views(const Config& config);

// Throws an Error with all complaints about the recipe `origin`; there is at least one.
[[noreturn]] void refuse(const std::string& origin, const std::vector<std::string>& complaints);

}  // namespace coss
