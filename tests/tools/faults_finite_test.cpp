// What is not finite stops the program: weights, features, logits, a teacher, a checkpoint. Nothing half-written stays,
// and no NaN counts as a right answer.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>

#include "evaluation/knn.h"
#include "evaluation/linear_probe.h"
#include "evaluation/ranks.h"
#include "formats/npy.h"
#include "formats/safetensors.h"
#include "tests/support/program.h"
#include "tests/training/small_training.h"

namespace coss::test {
namespace {

namespace fs = std::filesystem;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// A copy of a safetensors file in which one tensor has `value` everywhere.
std::string with_values(const std::string& from, const std::string& tensor_name, float value) {
  const TensorFile file = open_tensor_file(from);
  std::vector<NamedTensor> tensors;
  for (const FileTensor& tensor : file.tensors()) {
    tensors.push_back({tensor.name, tensor.dtype, tensor.shape, file.read_bytes(tensor)});
    std::vector<uint8_t>& bytes = tensors.back().bytes;
    if (tensor.name != tensor_name) continue;
    for (size_t at = 0; at < bytes.size(); at += sizeof(value)) std::memcpy(bytes.data() + at, &value, sizeof(value));
  }
  const std::string path = scratch_folder() + "/weights.safetensors";
  write_safetensors(path, tensors, file.metadata());
  return path;
}

// Every weight is finite, and the mean over the positions of an image is not.
std::string overflowing() { return with_values(small_training().teacher, "layer3.2.bn2.bias", 3e38f); }

std::string network_options(const std::string& weights) {
  return "--model resnet20_cifar --batch 8 --threads 2 --weights " + weights + " --data " + small_training().data + " ";
}

void expect_stop(const std::string& arguments, const std::vector<std::string>& parts) {
  const Outcome outcome = run_program(arguments);
  EXPECT_EQ(outcome.code, 1) << arguments << "\n" << outcome.out << outcome.err;
  EXPECT_EQ(outcome.out, "") << arguments;
  for (const std::string& part : parts)
    EXPECT_NE(outcome.err.find(part), std::string::npos) << arguments << ": no " << part << "\n" << outcome.err;
}

void expect_error(const std::function<void()>& action, const std::vector<std::string>& parts) {
  try {
    action();
    FAIL() << "no Error was thrown";
  } catch (const Error& error) {
    for (const std::string& part : parts)
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << "no " << part << "\n" << error.what();
  }
}

TEST(Faults, A3NanWeightsStopEveryCommand) {
  const std::string weights = with_values(small_training().teacher, "layer1.0.bn1.bias", kNan);
  const std::vector<std::string> parts{weights, "'layer1.0.bn1.bias'", "16 of 16"};
  for (const char* command : {"eval classify ", "eval knn ", "eval linear "})
    expect_stop(command + network_options(weights), parts);
  const std::string folder = scratch_folder(), out = folder + "/out";
  expect_stop("embed " + network_options(weights) + "--out " + out, parts);
  expect_stop("mine --k 3 " + network_options(weights) + "--out " + out, parts);
  for (const char* suffix : {".safetensors", ".pth", ".onnx"})
    expect_stop("convert " + weights + " " + out + suffix, parts);
  EXPECT_TRUE(fs::is_empty(folder));
  expect_error([&] { small_training().train(small_training().recipe({"teacher.weights=" + weights}), "nan_teacher"); },
               parts);
}

TEST(Faults, A3NegativeVarianceStopsConvert) {
  const std::string weights = with_values(small_training().teacher, "bn1.running_var", -1);
  const std::string folder = scratch_folder();
  expect_stop("convert " + weights + " " + folder + "/out.pth", {weights, "'bn1.running_var'", "negative"});
  EXPECT_TRUE(fs::is_empty(folder));
}

TEST(Faults, A3FeaturesNotFiniteStopEval) {
  const std::string weights = overflowing();
  expect_stop("eval classify " + network_options(weights), {"/val/", "logits", "not finite", "--mean", "fp16"});
  for (const char* command : {"eval knn ", "eval linear "})
    expect_stop(command + network_options(weights), {"/train/", "64 of the 64 features", "not finite"});
}

TEST(Faults, A3FeaturesNotFiniteStopEmbed) {
  const std::string folder = scratch_folder();
  expect_stop("embed " + network_options(overflowing()) + "--out " + folder + "/out",
              {"/train/", "features", "not finite"});
  EXPECT_TRUE(fs::is_empty(folder));
}

TEST(Faults, A3FeaturesNotFiniteStopMine) {
  const std::string folder = scratch_folder();
  expect_stop("mine --k 3 " + network_options(overflowing()) + "--out " + folder + "/out.npy",
              {"/train/", "features", "not finite"});
  EXPECT_TRUE(fs::is_empty(folder));

  std::vector<float> rows(20 * 3, 1.0f);
  rows[17 * 3 + 2] = kNan;
  const std::string features = scratch_folder() + "/features.npy";
  write_npy(features, FileDType::f32, {20, 3}, rows.data());
  expect_stop("mine --k 3 --features " + features + " --out " + folder + "/out.npy",
              {features, "row 17", "not finite"});
  EXPECT_TRUE(fs::is_empty(folder));
}

TEST(Faults, A3RanksTreatNanAsWrong) {
  const float scores[6] = {1, 3, kNan, 3, 0, -1}, alone[1] = {kNan};
  EXPECT_EQ(rank_of_label(scores, 6, 1), 1);  // the NaN is before it
  EXPECT_EQ(rank_of_label(scores, 6, 3), 2);
  EXPECT_GT(rank_of_label(scores, 6, 2), 6);
  EXPECT_GT(rank_of_label(alone, 1, 0), 6);

  Features train;
  train.rows = 4, train.width = 2;
  train.values = {1, 0, 1, 0.1f, 0, 1, 0.1f, 1};
  train.labels = {0, 0, 1, 1};
  Features test = train;
  std::fill(test.values.begin(), test.values.end(), kNan);
  EXPECT_EQ(knn_accuracy(train, train, {.k = {1}}).at(1), 100);
  EXPECT_EQ(knn_accuracy(train, test, {.k = {1}}).at(1), 0);
  EXPECT_EQ(knn_accuracy(test, train, {.k = {1}}).at(1), 0);
  for (const char* solver : {"sgd", "lbfgs"})
    expect_error([&] { linear_probe(train, test, {.solver = solver}); }, {"linear probe", "not finite"});
}

// The losses of fitnet and nst stay finite all the same. Nothing is mined here, since mining would stop the run before.
TEST(Faults, A3ATeacherThatIsNotFiniteStopsTraining) {
  const std::string weights = overflowing();
  for (const char* method : {"coss", "fitnet", "nst"}) {
    SCOPED_TRACE(method);
    const Config config = small_training().recipe({"method.name=" + std::string(method), "neighbors.nearest=0",
                                                   "teacher.weights=" + weights, "log.every_steps=2"});
    expect_error([&] { small_training().train(config, std::string("broken_teacher_") + method); },
                 {"teacher", "resnet20_cifar", "not finite", "step 1:", weights});
  }
}

TEST(Faults, A3MiningWithABrokenTeacherStopsTraining) {
  expect_error([&] { small_training().train(small_training().recipe({"teacher.weights=" + overflowing()}), "mined"); },
               {"/train/", "features", "not finite"});
  EXPECT_FALSE(fs::exists(small_training().place("mined/neighbors.npy")));
}

// In training the batch's own statistics count, so that the loss is finite.
TEST(Faults, A3KnnChecksInTrainingStopToo) {
  const std::string weights = with_values(small_training().teacher, "layer3.2.bn2.running_mean", -3e38f);
  const Config config = small_training().recipe(
      {"neighbors.nearest=0", "student.weights=" + weights, "knn.every_steps=1", "knn.k=1", "log.every_steps=1"});
  expect_error([&] { small_training().train(config, "broken_student"); }, {"/train/", "features", "not finite"});
}

TEST(Faults, A3ResumingRefusesParametersThatAreNotFinite) {
  const SmallTraining& small = small_training();
  const auto recipe = [&](const char* steps) {
    return small.recipe({"neighbors.nearest=0", std::string("train.max_steps=") + steps});
  };
  small.train(recipe("2"), "resumed");
  const std::string state = small.place("resumed/checkpoints/step_00000002/trainer.safetensors");
  ASSERT_TRUE(fs::exists(state));
  fs::copy_file(with_values(state, "params.rest", kNan), state, fs::copy_options::overwrite_existing);
  expect_error([&] { small.train(recipe("2"), "resumed", /*resume=*/true); }, {state, "'params.rest'", "not finite"});
}

}  // namespace
}  // namespace coss::test
