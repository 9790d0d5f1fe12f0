// Whole training runs on drawn images: they learn, they stop and resume bit for bit, and they stop on a loss that is
// not finite.
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/support/support.h"
#include "tools/draw.h"
#include "tools/signals.h"
#include "tools/trainer.h"

namespace coss {
namespace {

namespace fs = std::filesystem;

// One small data set and one small teacher for all tests of this file.
struct Fixture {
  std::string folder = test::scratch_folder(), data = folder + "/images", teacher = folder + "/teacher.safetensors";

  Fixture() {
    draw_folder({.classes = 4, .per_class = 16, .test_per_class = 8, .size = 32, .seed = 1}, data);
    const Config config = recipe({"method.name=supervised", "teacher.model=", "teacher.weights=", "train.max_steps=12",
                                  "neighbours.nearest=0", "schedule.learning_rate=0.05"});
    teacher = train(config, "teacher").student;
  }

  Config recipe(const std::vector<std::string>& overrides) const {
    return parse_config(R"({
      "seed": 3, "dtype": "fp32", "threads": 2,
      "data": {"image_size": 32, "augmentation": "moco_v2", "workers": 2},
      "teacher": {"model": "resnet20_cifar"}, "student": {"model": "resnet20_cifar"},
      "neighbours": {"nearest": 3, "pool": 7},
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
    Trainer trainer(config);
    RunFolder run = resume ? RunFolder::resume(place(name), config) : RunFolder::create(place(name), config);
    Progress progress(stderr);
    return trainer.run(run, progress);
  }
};

const Fixture& fixture() {
  static const Fixture it;
  return it;
}

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Trains to the end, however often SIGTERM comes in between: in the first four attempts, a little later each time.
int train_with_interruptions(const Config& config, const std::string& name, std::chrono::milliseconds delay) {
  int interruptions = 0;
  for (int attempt = 0; attempt < 50; ++attempt) {
    const SignalScope signals;
    Trainer trainer(config);
    RunFolder run =
        attempt ? RunFolder::resume(fixture().place(name), config) : RunFolder::create(fixture().place(name), config);
    Progress progress(stderr);
    const std::jthread killer([&] {
      std::this_thread::sleep_for(delay * (attempt + 1));
      if (attempt < 4) kill(getpid(), SIGTERM);
    });
    try {
      if (!trainer.run(run, progress).interrupted) return interruptions;
    } catch (const Interrupted&) {  // before the first step, while neighbours were mined
    }
    ++interruptions;
  }
  return -1;
}

void expect_interruptions_change_nothing(const std::string& name, const std::vector<std::string>& overrides) {
  const Config config = fixture().recipe(overrides);
  const TrainResult straight = fixture().train(config, name + "_straight");
  const int interruptions = train_with_interruptions(config, name + "_broken", std::chrono::milliseconds(30));
  EXPECT_GE(interruptions, 1);
  const std::string one = bytes_of(straight.student),
                    other = bytes_of(fixture().place(name + "_broken/student.safetensors"));
  ASSERT_FALSE(one.empty());
  EXPECT_TRUE(one == other) << "final weights differ after " << interruptions << " interruptions";
  const std::string metrics = bytes_of(fixture().place(name + "_broken/metrics.jsonl"));
  EXPECT_EQ(std::count(metrics.begin(), metrics.end(), '\n'), 3);
}

TEST(Training, ResumesBitForBitInFp32) { expect_interruptions_change_nothing("fp32", {}); }
TEST(Training, ResumesBitForBitInBf16) { expect_interruptions_change_nothing("bf16", {"dtype=bf16"}); }
TEST(Training, ResumesBitForBitWithAveragesAndAccumulation) {
  expect_interruptions_change_nothing("ema", {"train.ema_decay=0.9", "train.accumulate=2", "optimizer.name=adamw",
                                              "train.clip_norm=1", "schedule.learning_rate=0.001"});
}

TEST(Training, TheLossFallsAndTheFolderIsComplete) {
  const TrainResult result = fixture().train(fixture().recipe({"train.max_steps=30", "knn.every_steps=15"}), "falls");
  EXPECT_EQ(result.steps, 30);
  EXPECT_LT(result.last.at("cosine"), -0.5);
  EXPECT_GE(result.last.at("knn"), 0.0);
  for (const char* file : {"config.json", "log.txt", "metrics.jsonl", "student.safetensors", "neighbours.npy",
                           "checkpoints/step_00000030/student.safetensors", "checkpoints/step_00000030/complete"})
    EXPECT_TRUE(fs::exists(fixture().place("falls/") + file)) << file;
}

TEST(Training, ALossThatIsNotFiniteNamesStepAndCheckpoint) {
  const Config config =
      fixture().recipe({"schedule.learning_rate=1e30", "checkpoint.every_steps=1", "log.every_steps=4"});
  try {
    fixture().train(config, "nan");
    FAIL() << "the run went on";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("step"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("last good checkpoint"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace coss
