// Every command opens each file of weights once, whatever it asks of it.
#include <gtest/gtest.h>

#include "formats/torch_writer.h"
#include "formats/weights.h"
#include "models/network.h"
#include "tests/support/open_count.h"
#include "tests/support/program.h"
#include "tests/support/support.h"
#include "tools/drawn_images.h"

namespace coss::test {
namespace {

// A fresh network, and a projection head behind it as `coss convert --keep-heads` writes it.
std::vector<NamedTensor> network_with_head(const std::string& model) {
  Params params;
  const auto network = find_model(model).make(Scope(params, "net"), 2);
  params.allocate(Device::cpu, DType::f32, 7);
  std::vector<NamedTensor> tensors = weights_as_tensors(params, "net");
  const int64_t width = network->feature_width;
  const std::vector<uint8_t> numbers(size_t(width * width * 4));
  tensors.push_back({"head.0.weight", FileDType::f32, {width, width}, numbers});
  return tensors;
}

struct OpenOnce : testing::Test {
  std::string folder = scratch_folder(), images = folder + "/images", teacher = folder + "/teacher.safetensors",
              student = folder + "/student.pth";

  OpenOnce() {
    draw_folder({.classes = 2, .per_class = 8, .test_per_class = 2, .size = 32, .seed = 2}, images);
    write_safetensors(teacher, network_with_head("resnet8_rd"),
                      {{"model", "resnet8_rd"}, {"image_mean", "0.5,0.5,0.5"}, {"image_stddev", "0.2,0.2,0.2"}});
    write_torch_zip(student, network_with_head("resnet8_rd"));
  }

  void expect_once(const std::string& arguments, const std::vector<std::string>& files) const {
    std::vector<std::unique_ptr<OpenCount>> counts;
    for (const std::string& file : files) counts.push_back(std::make_unique<OpenCount>(file));
    if (!counts[0]->works()) GTEST_SKIP() << "inotify is not there";
    const Outcome outcome = run_program(arguments);
    EXPECT_EQ(outcome.code, 0) << arguments << "\n" << outcome.err;
    for (size_t i = 0; i < files.size(); ++i) EXPECT_EQ(counts[i]->count(), 1) << files[i] << "\n" << arguments;
  }
};

// The student's file settles the normalization and gives the first weights; the teacher's gives a network and its head.
TEST_F(OpenOnce, Train) {
  const std::string recipe = folder + "/recipe.json";
  write_file(recipe, R"({"device": "cpu", "dtype": "fp32", "threads": 2,
                         "data": {"image_size": 32, "augmentation": "cifar", "path": ")" +
                         images + R"("}, "teacher": {"model": "resnet8_rd", "weights": ")" + teacher +
                         R"("}, "student": {"model": "resnet8_rd", "weights": ")" + student +
                         R"("}, "method": {"name": "seed", "dim": 64, "queue": 32},
                         "train": {"batch": 8, "max_steps": 2}})");
  expect_once("train " + recipe + " --dry-run", {teacher, student});
  expect_once("train " + recipe + " --out " + folder + "/run", {teacher, student});
  expect_once("train " + recipe + " --resume --out " + folder + "/run train.max_steps=2", {teacher, student});
}

TEST_F(OpenOnce, Evaluation) {
  for (const std::string& weights : {teacher, student}) {
    const std::string options =
        " --model resnet8_rd --threads 2 --batch 8 --size 32 --weights " + weights + " --data " + images + " ";
    expect_once("eval knn --k 1" + options, {weights});
    expect_once("eval classify" + options, {weights});
    expect_once("embed --force --out " + folder + "/features" + options, {weights});
    expect_once("mine --force --k 3 --out " + folder + "/neighbors.npy" + options, {weights});
  }
}

TEST_F(OpenOnce, ConvertAndInspect) {
  for (const std::string& weights : {teacher, student}) {
    expect_once("inspect " + weights, {weights});
    for (const char* out : {"out.safetensors", "out.pth", "out.onnx"})
      expect_once("convert --force " + weights + " " + folder + "/" + out, {weights});
  }
}

}  // namespace
}  // namespace coss::test
