// Whole training runs on drawn images: they learn, they stop and resume bit for bit, and they stop on a loss that is
// not finite.
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/training/small_training.h"

namespace coss {
namespace {

namespace fs = std::filesystem;
using test::bytes_of;
using test::small_training;

// Trains to the end, however often SIGTERM comes in between: in the first four attempts, a little later each time.
int train_with_interruptions(const Config& config, const std::string& name, std::chrono::milliseconds delay) {
  int interruptions = 0;
  for (int attempt = 0; attempt < 50; ++attempt) {
    const SignalScope signals;
    Trainer trainer(resolve(config));
    const std::string place = small_training().place(name);
    RunFolder run = RunFolder::holds_run(place) ? RunFolder::resume(place, config) : RunFolder::create(place, config);
    Progress progress(stderr);
    const std::jthread killer([&] {
      std::this_thread::sleep_for(delay * (attempt + 1));
      if (attempt < 4) kill(getpid(), SIGTERM);
    });
    try {
      if (!trainer.run(run, progress).interrupted) return interruptions;
    } catch (const Interrupted&) {  // before the first step, while neighbors were mined
    }
    ++interruptions;
  }
  return -1;
}

void expect_interruptions_change_nothing(const std::string& name, const std::vector<std::string>& overrides) {
  const Config config = small_training().recipe(overrides);
  const TrainResult straight = small_training().train(config, name + "_straight");
  const int interruptions = train_with_interruptions(config, name + "_broken", std::chrono::milliseconds(30));
  EXPECT_GE(interruptions, 1);
  const std::string one = bytes_of(straight.student),
                    other = bytes_of(small_training().place(name + "_broken/student.safetensors"));
  ASSERT_FALSE(one.empty());
  EXPECT_TRUE(one == other) << "final weights differ after " << interruptions << " interruptions";
  const std::string metrics = bytes_of(small_training().place(name + "_broken/metrics.jsonl"));
  EXPECT_EQ(std::count(metrics.begin(), metrics.end(), '\n'), 3);
}

TEST(Training, ResumesBitForBitInFp32) { expect_interruptions_change_nothing("fp32", {}); }
TEST(Training, ResumesBitForBitInBf16) { expect_interruptions_change_nothing("bf16", {"dtype=bf16"}); }
TEST(Training, ResumesBitForBitWithAveragesAndAccumulation) {
  expect_interruptions_change_nothing("ema", {"train.ema_decay=0.9", "train.accumulate=2", "optimizer.name=adamw",
                                              "train.clip_norm=1", "schedule.learning_rate=0.001"});
}

TEST(Training, ResumesBitForBitWithSeveralViews) {
  expect_interruptions_change_nothing("views",
                                      {"method.name=smd", R"(data.views=[{"augmentation": "byol_a", "image_size": 16},
                                                             {"augmentation": "byol_b", "image_size": 12}])"});
}

TEST(Training, TheLossFallsAndTheFolderIsComplete) {
  const TrainResult result =
      small_training().train(small_training().recipe({"train.max_steps=30", "knn.every_steps=15"}), "falls");
  EXPECT_EQ(result.steps, 30);
  EXPECT_LT(result.last.at("cosine"), -0.5);
  EXPECT_GE(result.last.at("knn"), 0.0);
  for (const char* figure : {"student_std", "student_rank", "teacher_std", "teacher_rank"})
    EXPECT_GT(result.last.at(figure), 0.0) << figure;
  EXPECT_LE(result.last.at("overlap_10"), 1.0);
  for (const char* file : {"config.json", "log.txt", "metrics.jsonl", "student.safetensors", "neighbors.npy",
                           "checkpoints/step_00000030/student.safetensors", "checkpoints/step_00000030/complete"})
    EXPECT_TRUE(fs::exists(small_training().place("falls/") + file)) << file;
}

TEST(Training, ALossThatIsNotFiniteNamesStepAndCheckpoint) {
  const Config config =
      small_training().recipe({"schedule.learning_rate=1e30", "checkpoint.every_steps=1", "log.every_steps=4"});
  try {
    small_training().train(config, "nan");
    FAIL() << "the run went on";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("step"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("last good checkpoint"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace coss
