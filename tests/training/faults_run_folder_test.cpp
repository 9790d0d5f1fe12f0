// Starts that fail or are killed: a run folder is whole or not there, and one command line with --resume starts the
// run, continues it, and ends with the bytes of a run that nobody stopped.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>
#include <vector>

#include "tests/support/program.h"
#include "tests/support/support.h"
#include "tests/training/small_training.h"
#include "training/new_folder.h"

namespace coss {
namespace {

namespace fs = std::filesystem;
using test::contains;
using test::Outcome;
using test::read_file;
using test::run_program;
using test::small_training;
using test::write_file;

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

// The program's arguments for a tiny run; `more` are further arguments.
std::string train(const std::string& out, const std::string& more = "") {
  static const std::string recipe = [] {
    const std::string path = test::scratch_folder() + "/recipe.json";
    write_file(path, R"({"seed": 3, "dtype": "fp32", "threads": 1,
        "data": {"path": ")" +
                         small_training().data + R"(", "image_size": 16, "augmentation": "cifar", "workers": 1},
        "teacher": {"model": "resnet20_cifar", "weights": ")" +
                         small_training().teacher + R"("},
        "student": {"model": "resnet8_rd"}, "neighbors": {"nearest": 1, "pool": 2},
        "train": {"batch": 8, "max_steps": 4}, "schedule": {"learning_rate": 0.01},
        "checkpoint": {"every_steps": 2}, "log": {"every_steps": 1}})");
    return path;
  }();
  return "train " + recipe + " --out " + out + " " + more;
}

// Lines of metrics.jsonl without the values that depend on the clock.
std::vector<nlohmann::json> metrics_of(const std::string& run) {
  std::vector<nlohmann::json> lines;
  std::istringstream file(read_file(run + "/metrics.jsonl"));
  for (std::string line; std::getline(file, line);) {
    lines.push_back(nlohmann::json::parse(line));
    for (const char* timed : {"images_per_second", "wait_share"}) lines.back().erase(timed);
  }
  return lines;
}

struct Straight {
  std::string run = test::scratch_folder() + "/run";
  std::chrono::duration<double> took{};

  Straight() {
    const auto begin = std::chrono::steady_clock::now();
    const Outcome outcome = run_program(train(run));
    took = std::chrono::steady_clock::now() - begin;
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_EQ(metrics_of(run).size(), 4u);
  }
};

const Straight& straight() {
  static const Straight it;
  return it;
}

// The folder holds the files of a whole run and nothing else, as if it had never been stopped.
void expect_whole(const std::string& run) {
  EXPECT_TRUE(read_file(run + "/student.safetensors") == read_file(straight().run + "/student.safetensors"));
  EXPECT_EQ(metrics_of(run), metrics_of(straight().run));
  for (const std::string& name : names_in(run)) {
    EXPECT_FALSE(contains(name, ".tmp")) << name;
    EXPECT_FALSE(contains(name, ".features")) << name;
  }
  EXPECT_EQ(names_in(fs::path(run).parent_path()), std::vector<std::string>{"run"});
}

void expect_resumes(const std::string& run, const std::string& said = "") {
  const Outcome outcome = run_program(train(run, "--resume"));
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_TRUE(contains(outcome.out, said)) << outcome.out;
  expect_whole(run);
}

TEST(Faults, B5ResumeStartsAFreshRun) {
  const std::string fresh = "holds no run yet";
  expect_resumes(test::scratch_folder() + "/run", fresh);
  const std::string empty = test::scratch_folder() + "/run";
  fs::create_directory(empty);
  expect_resumes(empty, fresh);
  expect_resumes(empty);  // a complete run stays what it is
  // Without --resume the message says what to do.
  const Outcome again = run_program(train(empty));
  EXPECT_EQ(again.code, 1);
  EXPECT_TRUE(contains(again.err, empty + " holds a run already") && contains(again.err, "--resume")) << again.err;
  expect_whole(empty);
}

TEST(Faults, B5WhatIsNoRunIsNotTouched) {
  const std::string folder = test::scratch_folder(), run = folder + "/run";
  fs::create_directory(run);
  write_file(run + "/log.txt", "mine");
  write_file(folder + "/file", "mine");
  for (const std::string more : {"", "--resume"}) {
    for (const std::string& out : {run, folder + "/file"}) {
      const Outcome outcome = run_program(train(out, more));
      EXPECT_EQ(outcome.code, 1);
      EXPECT_TRUE(contains(outcome.err, out + " exists and is no empty folder")) << outcome.err;
    }
    const Outcome here = run_program(train(".", more), "mkdir -p " + folder + "/here; cd " + folder + "/here;");
    EXPECT_EQ(here.code, 1);
    EXPECT_TRUE(contains(here.err, "the current folder")) << here.err;
  }
  EXPECT_EQ(read_file(run + "/log.txt") + read_file(folder + "/file"), "minemine");
  EXPECT_EQ(names_in(folder), (std::vector<std::string>{"file", "here", "run"}));
}

TEST(Faults, B5FailedStartLeavesNothing) {
  // More neighbors than there are images: found when the run mines them.
  const std::string folder = test::scratch_folder(), pool = "neighbors.pool=64";
  const auto fails = [&](const std::string& out) {
    const Outcome outcome = run_program(train(out, pool));
    EXPECT_EQ(outcome.code, 1) << outcome.out;
    EXPECT_TRUE(contains(outcome.err, "k = 64")) << outcome.err;
    EXPECT_FALSE(contains(outcome.err, "--resume")) << outcome.err;
  };
  fails(folder + "/run");
  fails(folder + "/parent/of/run/");
  EXPECT_TRUE(fs::is_empty(folder));
  fs::create_directory(folder + "/run");
  fs::permissions(folder + "/run", fs::perms::group_write, fs::perm_options::add);
  const fs::perms permissions = fs::status(folder + "/run").permissions();
  fails(folder + "/run");
  EXPECT_EQ(names_in(folder), std::vector<std::string>{"run"});
  EXPECT_TRUE(fs::is_empty(folder + "/run"));
  EXPECT_EQ(fs::status(folder + "/run").permissions(), permissions);
  // The same command works once its cause of failure is removed.
  const Outcome outcome = run_program(train(folder + "/run"));
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  expect_whole(folder + "/run");
}

TEST(Faults, B5StoppedWhileMiningLeavesNothing) {
  const std::string folder = test::scratch_folder(), run = folder + "/parent/run";
  const Config config = small_training().recipe({"neighbors.nearest=1", "neighbors.pool=2"});
  for (const bool mined : {false, true}) {
    const SignalScope signals;
    Trainer trainer(resolve(config));
    RunFolder made = RunFolder::create(run, config);
    if (mined) fs::copy_file(straight().run + "/neighbors.npy", run + "/neighbors.npy");
    if (mined) made.keep();  // what the trainer does after the mining
    Progress progress(stderr);
    kill(getpid(), SIGTERM);
    EXPECT_THROW(trainer.run(made, progress), Interrupted);
    EXPECT_EQ(made.is_kept(), mined);
    { const RunFolder ended = std::move(made); }
    EXPECT_EQ(fs::exists(folder + "/parent"), mined);
    EXPECT_EQ(RunFolder::holds_run(run), mined);
  }
}

TEST(Faults, B5MinedNeighborsOutliveAFailedStart) {
  const std::string run = test::scratch_folder() + "/run", neighbors = run + "/neighbors.npy";
  const Config config = small_training().recipe({"train.max_steps=1"});
  const SignalScope signals;
  Progress progress(stderr);
  {
    Trainer trainer(resolve(config));
    RunFolder made = RunFolder::create(run, config);
    fs::remove(run + "/checkpoints");
    write_file(run + "/checkpoints", "in the way, as the first look for a checkpoint finds");
    EXPECT_THROW(trainer.run(made, progress), Error);
    EXPECT_TRUE(made.is_kept());
  }
  fs::remove(run + "/checkpoints");
  const auto mined = fs::last_write_time(neighbors);
  RunFolder resumed = RunFolder::resume(run, config);
  EXPECT_EQ(Trainer(resolve(config)).run(resumed, progress).steps, 1);
  EXPECT_EQ(fs::last_write_time(neighbors), mined);
}

TEST(Faults, B5AStartThatFailsInARunSaysHowToGoOn) {
  const std::string run = test::scratch_folder() + "/run", neighbors = run + "/neighbors.npy";
  fs::copy(straight().run, run, fs::copy_options::recursive);
  fs::remove_all(run + "/checkpoints");
  write_file(neighbors, "no neighbors");
  const Outcome outcome = run_program(train(run, "--resume"));
  EXPECT_EQ(outcome.code, 1);
  EXPECT_TRUE(contains(outcome.err, neighbors)) << outcome.err;
  EXPECT_TRUE(contains(outcome.err, "coss train " + run + "/config.json --out " + run + " --resume")) << outcome.err;
  fs::remove(neighbors);
  expect_resumes(run);
}

TEST(Faults, B5KilledStartsAreResumed) {
  const double took = straight().took.count();
  for (const double part : {0.1, 0.25, 0.4, 0.55, 0.7}) {
    SCOPED_TRACE("killed after " + std::to_string(part * took) + " s");
    const std::string run = test::scratch_folder() + "/run";
    run_program(train(run, "--resume"), "timeout -s KILL " + std::to_string(part * took));
    expect_resumes(run);
  }
}

TEST(Faults, B5DeadAttemptsAreRemoved) {
  const std::string folder = test::scratch_folder(), run = folder + "/run";
  for (const std::string name : {"/.run.start-1-0", "/.run.start-2-0", "/.run.start-3-0"})
    fs::create_directory(folder + name);
  write_file(folder + "/.run.start-1-0/log.txt", "");
  write_file(folder + "/.run.start-1-0/config.json", "{}");
  write_file(folder + "/.run.start-3-0/log.txt", "");
  {
    const FileLock alive(folder + "/.run.start-3-0/log.txt", /*make=*/false);
    ASSERT_TRUE(alive.held());
    RunFolder::create(run, small_training().recipe({})).keep();
    EXPECT_EQ(names_in(folder), (std::vector<std::string>{".run.start-3-0", "run"}));
  }
  fs::remove_all(run);
  // What a start left in the place itself, before it had written its recipe.
  fs::create_directories(run + "/checkpoints");
  write_file(run + "/log.txt", "");
  write_file(run + "/config.json.tmp-0123456789abcdef", "{");
  write_file(run + "/events.out.tfevents.1.host.77", "");
  expect_resumes(run, "holds no run yet");
}

TEST(Faults, B5TwoStartsOfOneFolder) {
  const std::string run = test::scratch_folder() + "/run";
  Outcome first;
  std::jthread other([&] { first = run_program(train(run, "--resume")); });
  const Outcome second = run_program(train(run, "--resume"));
  other.join();
  // The slower one is refused, or finds a complete run if it is very much slower.
  EXPECT_TRUE(first.code == 0 || second.code == 0) << first.err << second.err;
  for (const Outcome& outcome : {first, second})
    EXPECT_TRUE(outcome.code == 0 || contains(outcome.err, "another process") || contains(outcome.err, "--resume"))
        << outcome.err;
  expect_whole(run);

  // Both have seen that the place is free: the first to rename gets it.
  const std::string place = test::scratch_folder() + "/run";
  NewFolder one(place, "log.txt");
  {
    NewFolder two(place, "log.txt");
    write_file(one.aside() / "mine", "one");
    one.appear();
    EXPECT_THROW(two.appear(), Error);
  }
  one.keep();
  EXPECT_EQ(names_in(place), (std::vector<std::string>{"log.txt", "mine"}));
  EXPECT_EQ(names_in(fs::path(place).parent_path()), std::vector<std::string>{"run"});
  // A refused process leaves no file in somebody's run.
  const Config config = small_training().recipe({});
  const std::string busy = test::scratch_folder() + "/run";
  const RunFolder open = RunFolder::create(busy, config);
  const auto before = names_in(busy);
  EXPECT_THROW(RunFolder::resume(busy, config), Error);
  EXPECT_EQ(names_in(busy), before);
}

TEST(Faults, B8AFolderThatIsMovedOrRemovedIsAnError) {
  const std::string folder = test::scratch_folder();
  const auto error_of = [](RunFolder& run) -> std::string {
    try {
      run.write_checkpoint(1, [](const std::string& place) { write_file(place + "/state", "x"); });
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  RunFolder moved = RunFolder::create(folder + "/a", small_training().recipe({}));
  moved.keep();
  EXPECT_EQ(error_of(moved), "");
  fs::rename(folder + "/a", folder + "/b");
  EXPECT_TRUE(contains(error_of(moved), "it is " + folder + "/b now")) << error_of(moved);
  EXPECT_FALSE(fs::exists(folder + "/a"));
  RunFolder removed = RunFolder::create(folder + "/c", small_training().recipe({}));
  fs::remove_all(folder + "/c");
  EXPECT_TRUE(contains(error_of(removed), "was removed while the run used it")) << error_of(removed);
  EXPECT_FALSE(fs::exists(folder + "/c"));
}

TEST(Faults, B6ARunWithoutCheckpointStartsItsMetricsAnew) {
  const std::string run = test::scratch_folder() + "/run";
  fs::copy(straight().run, run, fs::copy_options::recursive);
  fs::remove(run + "/student.safetensors");
  fs::remove_all(run + "/checkpoints");
  fs::create_directory(run + "/checkpoints");
  write_file(run + "/metrics.jsonl", read_file(run + "/metrics.jsonl") + "{\"step\": 5, \"lo");
  write_file(run + "/neighbors.npy.features", "left by a process that was killed");
  expect_resumes(run);
  int event_files = 0;
  for (const std::string& name : names_in(run)) event_files += name.starts_with("events.out.tfevents.");
  EXPECT_EQ(event_files, 1);
}

}  // namespace
}  // namespace coss
