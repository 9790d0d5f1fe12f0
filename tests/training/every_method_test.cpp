// Every method of the registry trains by its recipe's keys, in both dtypes of the CPU, and a run that continues from
// a checkpoint ends with the bytes of one that was never stopped: queues, memory banks, averaged networks, everything.
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "tests/training/small_training.h"

namespace coss {
namespace {

namespace fs = std::filesystem;
using test::bytes_of;
using test::small_training;

// The options of the method at the size of the test.
std::vector<std::string> small_recipe(const MethodInfo& info, const std::string& dtype) {
  std::vector<std::string> keys{"method.name=" + std::string(info.name),
                                "dtype=" + dtype,
                                "data.augmentation=cifar",
                                "data.image_size=16",
                                "threads=1",
                                "student.model=resnet8_rd",
                                "student.classes=4",
                                "train.batch=8",
                                "train.max_steps=4",
                                "checkpoint.every_steps=2",
                                "log.every_steps=1",
                                "schedule.learning_rate=0.001"};
  keys.push_back(std::string("neighbors.nearest=") + (info.needs.neighbors ? "1" : "0"));
  if (!info.needs.teacher) keys.insert(keys.end(), {"teacher.model=", "teacher.weights="});
  const std::map<std::string, std::string> small{{"queue", "24"},       {"negatives", "16"},     {"head_hidden", "32"},
                                                 {"teacher_head", "0"}, {"teacher_epochs", "0"}, {"dim", "64"}};
  for (const MethodOption& option : info.options)
    if (small.contains(option.name)) keys.push_back("method." + std::string(option.name) + "=" + small.at(option.name));
  return keys;
}

void expect_resumes(const MethodInfo& info, const std::string& dtype) {
  const Config config = small_training().recipe(small_recipe(info, dtype));
  const std::string name = std::string(info.name) + "_" + dtype;
  const TrainResult straight = small_training().train(config, name);
  EXPECT_EQ(straight.steps, 4);
  EXPECT_TRUE(std::isfinite(straight.last.at("total")));
  EXPECT_GT(straight.last.at("gradient_norm"), 0);
  const std::string whole = bytes_of(straight.student), state = small_training().place(name) + "/checkpoints/";
  const std::string last = bytes_of(state + "step_00000004/trainer.safetensors");
  ASSERT_FALSE(last.empty());
  fs::remove_all(state + "step_00000004");
  fs::remove(straight.student);
  const TrainResult resumed = small_training().train(config, name, /*resume=*/true);
  EXPECT_TRUE(bytes_of(resumed.student) == whole) << "the student's weights differ";
  EXPECT_TRUE(bytes_of(state + "step_00000004/trainer.safetensors") == last) << "the trainer's state differs";
}

TEST(EveryMethod, TrainsAndResumesBitForBit) {
  for (const MethodInfo& info : methods())
    for (const char* dtype : {"fp32", "bf16"}) {
      SCOPED_TRACE(std::string(info.name) + " in " + dtype);
      ASSERT_NO_THROW(expect_resumes(info, dtype));
    }
}

}  // namespace
}  // namespace coss
