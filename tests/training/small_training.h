// Whole training runs small enough for tests: drawn images, and a teacher trained on them.
#pragma once
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "evaluation/signals.h"
#include "tests/support/support.h"
#include "tools/drawn_images.h"
#include "training/recipe.h"
#include "training/trainer.h"

namespace coss::test {

// One small data set and one small teacher for all tests of a program.
struct SmallTraining {
  std::string folder = scratch_folder(), data = folder + "/images", teacher = folder + "/teacher.safetensors";

  SmallTraining() {
    draw_folder({.classes = 4, .per_class = 16, .test_per_class = 8, .size = 32, .seed = 1}, data);
    const Config config = recipe({"method.name=supervised", "teacher.model=", "teacher.weights=", "train.max_steps=12",
                                  "neighbors.nearest=0", "schedule.learning_rate=0.05"});
    teacher = train(config, "teacher").student;
  }

  Config recipe(const std::vector<std::string>& overrides) const {
    return parse_config(R"({
      "seed": 3, "device": "cpu", "dtype": "fp32", "threads": 2,
      "data": {"image_size": 32, "augmentation": "moco_v2", "workers": 2},
      "teacher": {"model": "resnet20_cifar"}, "student": {"model": "resnet20_cifar"},
      "neighbors": {"nearest": 3, "pool": 7},
      "train": {"batch": 16, "max_steps": 12}, "optimizer": {"weight_decay": 1e-4},
      "schedule": {"learning_rate": 0.03}, "checkpoint": {"every_steps": 5}, "log": {"every_steps": 4}
    })",
                        "test recipe", [&] {
                          std::vector<std::string> all{"data.path=" + data, "teacher.weights=" + teacher};
                          all.insert(all.end(), overrides.begin(), overrides.end());
                          return all;
                        }());
  }

  std::string place(const std::string& name) const { return folder + "/" + name; }

  TrainResult train(const Config& config, const std::string& name, bool resume = false) const {
    const SignalScope signals;  // forgets the signals of other tests
    Trainer trainer(resolve(config));
    RunFolder run = resume ? RunFolder::resume(place(name), config) : RunFolder::create(place(name), config);
    Progress progress(stderr);
    return trainer.run(run, progress);
  }
};

inline const SmallTraining& small_training() {
  static const SmallTraining it;
  return it;
}

inline std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace coss::test
