// Signals while a run is trained: a checkpoint on request, an orderly end when the terminal is closed.
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <thread>

#include "tests/training/small_training.h"

namespace coss::test {
namespace {

TEST(Faults, B2SigUsr1WritesACheckpointAndTheRunGoesOn) {
  const Config config = small_training().recipe({"checkpoint.every_steps=0", "checkpoint.keep=0"});
  const SignalScope signals;
  Trainer trainer(resolve(config));
  RunFolder run = RunFolder::create(small_training().place("usr1"), config);
  Progress progress(stderr);
  raise(SIGUSR1);
  const TrainResult result = trainer.run(run, progress);
  EXPECT_FALSE(result.interrupted);
  EXPECT_EQ(result.steps, 12);
  EXPECT_TRUE(std::filesystem::exists(run.path() + "/checkpoints/step_00000001/complete"));
}

TEST(Faults, B2SigHupEndsARunAsCtrlCDoes) {
  const Config config = small_training().recipe({});
  const SignalScope signals;
  Trainer trainer(resolve(config));
  RunFolder run = RunFolder::create(small_training().place("hup"), config);
  Progress progress(stderr);
  std::jthread later([] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    kill(getpid(), SIGHUP);
  });
  try {
    trainer.run(run, progress);
  } catch (const Interrupted&) {  // before the first step, while neighbors were mined
  }
  later.join();
  EXPECT_TRUE(interrupted());
  EXPECT_EQ(interrupt_exit_code(), 129);
}

TEST(Faults, B2NohupKeepsSigHupIgnored) {
  const auto before = std::signal(SIGHUP, SIG_IGN);
  {
    const SignalScope signals;
    raise(SIGHUP);
    EXPECT_FALSE(interrupted());
  }
  std::signal(SIGHUP, before);
}

}  // namespace
}  // namespace coss::test
