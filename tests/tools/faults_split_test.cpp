// Data without a split of its own: no image grades itself, and each way out grades by the images that it names.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "data/dataset.h"
#include "evaluation/knn.h"
#include "formats/npy.h"
#include "tests/support/program.h"
#include "tests/support/support.h"
#include "tools/drawn_images.h"

namespace coss {
namespace {

namespace fs = std::filesystem;
using test::contains;
using test::Outcome;
using test::run_program;

void expect_words(const std::string& text, const std::vector<std::string>& words) {
  for (const std::string& word : words) EXPECT_TRUE(contains(text, word)) << text << " lacks " << word;
}

// `images` has train/ and val/; `train` and `val` are class folders without a split, `list` names the images of train/.
struct Drawn {
  std::string folder = test::scratch_folder(), images = folder + "/images", train = images + "/train",
              val = images + "/val", list = folder + "/list.txt", recipe = folder + "/recipe.json",
              weights = folder + "/run/student.safetensors";

  Drawn() {
    draw_folder({.classes = 3, .per_class = 8, .test_per_class = 3, .size = 32, .seed = 4}, images);
    const auto all = open_dataset(train, Split::train);
    std::string lines;
    for (int64_t i = 0; i < all->size(); ++i) lines += all->name(i) + " " + std::to_string(all->label(i)) + "\n";
    test::write_file(list, lines);
    test::write_file(recipe, R"({"dtype": "fp32", "threads": 1, "data": {"image_size": 32, "augmentation": "cifar"},
                                 "student": {"model": "resnet20_cifar"}, "method": {"name": "supervised"},
                                 "train": {"batch": 8, "max_steps": 2}, "log": {"every_steps": 1}})");
    EXPECT_EQ(run_program("train " + recipe + " data.path=" + images + " --out " + folder + "/run").code, 0);
  }
};

const Drawn& drawn() {
  static const Drawn it;
  return it;
}

const std::string kModel = " --model resnet20_cifar --weights '' --size 32 --batch 8 --threads 1 --data ";
std::string knn(const std::string& data) { return "eval knn --k 1 3" + kModel + data; }
std::string linear(const std::string& data) { return "eval linear --epochs 1" + kModel + data; }

void expect_refusal(const std::string& arguments, const std::vector<std::string>& words, int code = 1) {
  const Outcome outcome = run_program(arguments);
  EXPECT_EQ(outcome.code, code) << arguments << "\n" << outcome.out << outcome.err;
  EXPECT_TRUE(outcome.out.empty()) << outcome.out;
  EXPECT_TRUE(outcome.err.starts_with("coss: ")) << outcome.err;
  expect_words(outcome.err, words);
}

Outcome must_work(const std::string& arguments) {
  Outcome outcome = run_program(arguments);
  EXPECT_EQ(outcome.code, 0) << arguments << "\n" << outcome.err;
  return outcome;
}

TEST(Faults, A1KnnOnUnsplitFoldersIsAnError) {
  for (const std::string& data : {drawn().train, drawn().list})
    expect_refusal(knn(data), {data, "not split", "--test PATH", "--split 0.2", "--leave-one-out"});
  // train/ alone.
  const std::string alone = test::scratch_folder();
  fs::create_directory_symlink(drawn().train, alone + "/train");
  expect_refusal(knn(alone), {alone, "--test PATH"});
}

TEST(Faults, A1LinearOnUnsplitFoldersIsAnError) {
  for (const std::string& data : {drawn().train, drawn().list}) {
    expect_refusal(linear(data), {data, "not split", "--test PATH", "--split 0.2"});
    EXPECT_FALSE(contains(run_program(linear(data)).err, "leave-one-out"));
  }
}

TEST(Faults, A1ClassifyTakesAllImagesOfUnsplitFolders) {
  const std::string command = "eval classify --json --batch 8 --threads 1 --size 32 --model resnet20_cifar --weights " +
                              drawn().weights + " --data " + drawn().train;
  EXPECT_EQ(nlohmann::json::parse(must_work(command).out).at("images"), 24);
  EXPECT_EQ(nlohmann::json::parse(must_work(command + " --split 0.25").out).at("images"), 6);
}

TEST(Faults, A1TestFolderGradesAsTheOwnSplit) {
  for (const auto& command : {knn, linear}) {
    const Outcome own = must_work(command(drawn().images)),
                  given = must_work(command(drawn().train + " --test " + drawn().val));
    EXPECT_EQ(own.out, given.out);
    expect_words(own.err, {"24 training and 9 test images of " + drawn().images + ": train/ and val/"});
    expect_words(given.err, {"24 training and 9 test images: " + drawn().train + " and " + drawn().val});
  }
  const Outcome part = must_work(knn(drawn().train + " --test " + drawn().images));
  EXPECT_EQ(part.out, must_work(knn(drawn().images)).out);
  expect_words(part.err, {drawn().images + ", its val/"});
}

TEST(Faults, A1SplitGradesByTheHeldOutImages) {
  const Outcome one = must_work(knn(drawn().train + " --split 0.25")),
                two = must_work(knn(drawn().train + " --split 0.25 --split-seed 0 --workers 1"));
  EXPECT_EQ(one.out, two.out);
  expect_words(one.out, {"18 training and 6 test images"});
  expect_words(one.err, {"18 training and 6 test images of " + drawn().train, "0.25 of each class", "seed 0"});
  expect_words(must_work(linear(drawn().list + " --split 0.25 --split-seed 3")).err, {"18 training", "seed 3"});
}

TEST(Faults, A1LeaveOneOutIsSaid) {
  const Outcome text = must_work(knn(drawn().train + " --leave-one-out"));
  expect_words(text.out, {"leave-one-out on 24 images"});
  expect_words(text.err, {"24 images of " + drawn().train, "leave-one-out"});
  const auto json = nlohmann::json::parse(must_work(knn(drawn().list + " --json --leave-one-out")).out);
  EXPECT_EQ(json.at("leave_one_out"), true);
  EXPECT_LT(json.at("knn").at("1").get<double>(), 100);
  EXPECT_FALSE(nlohmann::json::parse(must_work(knn(drawn().images + " --json")).out).contains("leave_one_out"));
}

TEST(Faults, A1LeaveOneOutRefusesAnImageThatIsThereTwice) {
  const std::string list = test::scratch_folder() + "/twice.txt", lines = test::read_file(drawn().list);
  test::write_file(list, lines + lines.substr(0, lines.find('\n') + 1));
  expect_refusal(knn(list + " --leave-one-out"), {lines.substr(0, lines.find(' ')), "twice"});
}

TEST(Faults, A1LeaveOneOutLeavesTheImageItselfOut) {
  // Each row has one equal row, of the other class.
  Features rows;
  rows.rows = 4;
  rows.width = 2;
  rows.values = {1, 0, 1, 0, 0, 1, 0, 1};
  rows.labels = {0, 1, 0, 1};
  KnnOptions options;
  options.k = {1, 9};
  options.leave_one_out = true;
  for (const Device device : test::devices_under_test()) {
    options.device = device;
    const auto accuracy = knn_accuracy(rows, rows, options);
    EXPECT_EQ(accuracy.at(1), 0);
    EXPECT_EQ(accuracy.at(9), 0);  // of the three others, the equal one counts for the most
  }
  rows.rows = 1;
  rows.values.resize(2);
  rows.labels.resize(1);
  EXPECT_THROW(knn_accuracy(rows, rows, options), Error);
}

TEST(Faults, A1WaysOutExcludeEachOther) {
  const std::string& train = drawn().train;
  for (const char* more : {" --split 0.2 --leave-one-out", " --leave-one-out --test x", " --test x --split 0.2"})
    expect_refusal(knn(train + more), {"--"}, 2);
  for (const char* share : {"0", "1", "nan", "train"})
    expect_refusal(knn(train + " --split " + share), {share, "above 0 and below 1"}, 2);
  expect_refusal(knn(train + " --split-seed 3"), {"--split"}, 2);
  expect_refusal(linear(train + " --leave-one-out"), {"--leave-one-out"}, 2);
  expect_refusal("mine --features x.npy --split 0.2 --out y.npy", {"--features"}, 2);
}

TEST(Faults, A1DataWithItsOwnSplitTakesNoOther) {
  for (const std::string& more : {std::string(" --split 0.2"), " --test " + drawn().train})
    expect_refusal(knn(drawn().images + more), {drawn().images, "train/ and val/"});
  expect_refusal(knn(drawn().train + " --test " + drawn().train + "/"), {drawn().train, "training images"});
}

std::string train(const std::string& more) {
  return "train " + drawn().recipe + " data.path=" + drawn().train + " " + more;
}

TEST(Faults, A1TrainingChecksNeedTestImages) {
  const std::string folder = test::scratch_folder();
  for (const char* check : {"knn.every_steps=1", "knn.every_epochs=1"}) {
    const Outcome outcome = run_program(train(check + std::string(" --json --out ") + folder + "/run"));
    EXPECT_EQ(outcome.code, 1);
    expect_words(outcome.err, {drawn().train, "data.test=PATH", "data.split=0.2", "knn.every_epochs=0"});
  }
  EXPECT_TRUE(fs::is_empty(folder));
  must_work(train("--out " + folder + "/unchecked"));
  must_work(train("knn.every_steps=2 data.test=" + drawn().val + " --out " + folder + "/tested"));
  expect_words(test::read_file(folder + "/tested/log.txt"), {"24 training images", "9 test images", "kNN accuracy"});
  for (const char* wrong : {"data.split=1", "data.split=-0.1", "data.split=0.2 data.test=x"})
    expect_words(run_program(train(wrong + std::string(" --out ") + folder + "/wrong")).err, {"data.split"});
  EXPECT_FALSE(fs::exists(folder + "/wrong"));
}

TEST(Faults, A1TrainingWithholdsTheHeldOutImages) {
  const std::string folder = test::scratch_folder(), split = "data.split=0.25 data.split_seed=3 ";
  must_work(train(split + "knn.every_steps=2 --out " + folder + "/split"));
  expect_words(test::read_file(folder + "/split/log.txt"), {"18 training images", "6 test images", "kNN accuracy"});
  // The same as a run on a folder that has no others.
  const auto rest = open_dataset(DataSource{.path = drawn().train, .held_out = 0.25, .seed = 3}, Split::train);
  for (int64_t i = 0; i < rest->size(); ++i) {
    const fs::path from = rest->name(i), to = fs::path(folder + "/rest") / fs::relative(from, drawn().train);
    fs::create_directories(to.parent_path());
    fs::copy_file(from, to);
  }
  must_work("train " + drawn().recipe + " data.path=" + folder + "/rest --out " + folder + "/without");
  const std::string student = test::read_file(folder + "/split/student.safetensors");
  EXPECT_FALSE(student.empty());
  EXPECT_TRUE(student == test::read_file(folder + "/without/student.safetensors"));

  for (const char* other : {"data.split=0.5 data.split_seed=3 ", "data.split=0.25 ", ""}) {
    const Outcome outcome = run_program(train(std::string(other) + "--resume --out " + folder + "/split"));
    EXPECT_EQ(outcome.code, 1);
    expect_words(outcome.err, {"different recipe", "data.split"});
  }
}

TEST(Faults, A1NeighborsAreMinedForTheTrainingImages) {
  const std::string folder = test::scratch_folder(), data = drawn().train + " --split 0.25 --split-seed 3 ",
                    nearest = "neighbors.nearest=1 neighbors.pool=2 neighbors.file=";
  const std::string model =
      " --model resnet20_cifar --size 32 --batch 8 --threads 1 --weights " + drawn().weights + " --data ";
  must_work("mine --k 2" + model + data + "--out " + folder + "/split.npy");
  must_work("mine --k 2" + model + drawn().train + " --out " + folder + "/all.npy");
  EXPECT_EQ(read_npy(folder + "/split.npy").shape[0], 18);
  const std::string split = "data.split=0.25 data.split_seed=3 " + nearest + folder;
  must_work(train(split + "/split.npy --out " + folder + "/run"));
  const Outcome wrong = run_program(train(split + "/all.npy --out " + folder + "/wrong"));
  EXPECT_EQ(wrong.code, 1);
  expect_words(wrong.err, {"all.npy", "18 images", "coss mine --split 0.25 --split-seed 3"});
  EXPECT_FALSE(fs::exists(folder + "/wrong"));

  must_work("embed" + model + data + "--out " + folder + "/train");
  must_work("embed --subset test" + model + data + "--out " + folder + "/test");
  EXPECT_EQ(read_npy(folder + "/train/labels.npy").shape[0], 18);
  EXPECT_EQ(read_npy(folder + "/test/labels.npy").shape[0], 6);
  must_work("mine --k 2 --features " + folder + "/train/features.npy --out " + folder + "/same.npy");
  EXPECT_EQ(test::read_file(folder + "/same.npy"), test::read_file(folder + "/split.npy"));
  expect_refusal("embed --subset test" + model + drawn().train + " --out " + folder + "/none", {"--split 0.2"});
  EXPECT_FALSE(fs::exists(folder + "/none"));
}

}  // namespace
}  // namespace coss
