// Run folders: nothing is overwritten, a torn checkpoint does not count, a resumed run is the same run.
#include "training/run_folder.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "engine/check.h"
#include "tests/support/support.h"
#include "training/recipe.h"

namespace coss {
namespace {

namespace fs = std::filesystem;

Config some_config() {
  return parse_config(R"({"data": {"path": "images"}, "student": {"model": "resnet20_cifar"},
                          "method": {"name": "supervised"}})",
                      "test", {});
}

std::string read_text(const fs::path& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

void write_text(const fs::path& path, const std::string& text) { std::ofstream(path) << text; }

std::string complaint(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(RunFolder, IsNeverOverwrittenSilently) {
  const std::string path = test::scratch_folder() + "/run";
  { RunFolder::create(path, some_config()).keep(); }
  EXPECT_NE(complaint([&] { RunFolder::create(path, some_config()); }).find("--resume"), std::string::npos);
  const std::string other = test::scratch_folder();
  write_text(other + "/thesis.txt", "mine");
  EXPECT_NE(complaint([&] { RunFolder::create(other, some_config()); }).find("no empty folder"), std::string::npos);
  EXPECT_EQ(read_text(other + "/thesis.txt"), "mine");
  EXPECT_EQ(std::distance(fs::directory_iterator(other), {}), 1);
}

TEST(RunFolder, ResumesOnlyTheSameRecipe) {
  const std::string path = test::scratch_folder() + "/run";
  Config config = some_config();
  EXPECT_NE(complaint([&] { RunFolder::resume(path, config); }).find("no run to resume"), std::string::npos);
  { RunFolder::create(path, config).keep(); }
  config.log.every_steps = 1;
  { EXPECT_NO_THROW(RunFolder::resume(path, config)); }
  config.schedule.base = 0.5;
  config.train.epochs = 3;
  const std::string text = complaint([&] { RunFolder::resume(path, config); });
  EXPECT_NE(text.find("schedule.learning_rate: 0.03 -> 0.5"), std::string::npos) << text;
  EXPECT_NE(text.find("train.epochs: 100 -> 3"), std::string::npos) << text;
}

TEST(RunFolder, IsOpenInOneProcessOnly) {
  const std::string path = test::scratch_folder() + "/run";
  const RunFolder run = RunFolder::create(path, some_config());
  EXPECT_NE(complaint([&] { RunFolder::resume(path, some_config()); }).find("in use"), std::string::npos);
}

TEST(RunFolder, CountsCompleteCheckpointsOnly) {
  RunFolder run = RunFolder::create(test::scratch_folder() + "/run", some_config());
  EXPECT_FALSE(run.last_checkpoint());
  const auto write = [](const std::string& folder) { write_text(folder + "/student.safetensors", "weights"); };
  const std::string first = run.write_checkpoint(5, write);
  EXPECT_EQ(fs::path(first).filename(), "step_00000005");
  EXPECT_TRUE(fs::exists(first + "/complete"));
  run.write_checkpoint(12, write);

  EXPECT_THROW(run.write_checkpoint(20, [](const std::string&) { throw Error("disk full"); }), Error);
  fs::create_directories(run.path() + "/checkpoints/step_00000030");       // without the mark
  fs::create_directories(run.path() + "/checkpoints/.tmp_step_00000040");  // a killed process
  ASSERT_EQ(run.checkpoints().size(), 2u);
  EXPECT_EQ(run.last_checkpoint()->step, 12);

  run.write_checkpoint(30, write);  // replaces the torn one
  EXPECT_EQ(run.last_checkpoint()->step, 30);
  run.prune(2);
  ASSERT_EQ(run.checkpoints().size(), 2u);
  EXPECT_EQ(run.checkpoints().front().step, 12);
  EXPECT_EQ(std::distance(fs::directory_iterator(run.path() + "/checkpoints"), {}), 2);
  run.prune(0);
  EXPECT_EQ(run.checkpoints().size(), 2u);
}

TEST(RunFolder, ForgetsMetricsAfterAStep) {
  RunFolder run = RunFolder::create(test::scratch_folder() + "/run", some_config());
  run.metrics(1, {{"loss", 0.5}, {"rate", 0.03}});
  run.metrics(2, {{"loss", std::nan("")}});
  run.metrics(3, {{"loss", 0.25}});
  const std::string file = run.path() + "/metrics.jsonl";
  EXPECT_EQ(read_text(file),
            "{\"step\": 1, \"loss\": 0.5, \"rate\": 0.03}\n{\"step\": 2, \"loss\": null}\n"
            "{\"step\": 3, \"loss\": 0.25}\n");
  std::ofstream(file, std::ios::app) << "{\"step\": 4, \"lo";  // torn
  run.truncate_metrics(2);
  run.metrics(3, {{"loss", 0.125}});
  EXPECT_EQ(read_text(file),
            "{\"step\": 1, \"loss\": 0.5, \"rate\": 0.03}\n{\"step\": 2, \"loss\": null}\n"
            "{\"step\": 3, \"loss\": 0.125}\n");
  run.log("a line");
  EXPECT_NE(read_text(run.path() + "/log.txt").find(" a line\n"), std::string::npos);
}

}  // namespace
}  // namespace coss
