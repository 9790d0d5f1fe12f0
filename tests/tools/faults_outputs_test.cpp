// What users name as output: what is there stays, an input is never replaced, and what cannot be written is said before
// the work.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <vector>

#include "formats/npy.h"
#include "formats/weights.h"
#include "models/network.h"
#include "tests/support/program.h"
#include "tests/support/support.h"
#include "tools/drawn_images.h"

namespace coss {
namespace {

namespace fs = std::filesystem;
using test::contains;
using test::Outcome;
using test::read_file;
using test::run_program;
using test::write_file;

// Every file below a folder with its bytes.
std::map<std::string, std::string> contents(const std::string& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    files[entry.path().lexically_relative(folder)] = entry.is_regular_file() ? read_file(entry.path()) : "";
  return files;
}

void write_features(const std::string& path) {
  std::vector<float> values;
  for (int i = 0; i < 8 * 3; ++i) values.push_back(float(i * i % 17) - 5);
  write_npy(path, FileDType::f32, {8, 3}, values.data());
}

// Images, the weights of a network, features and a recipe.
struct Inputs {
  std::string folder = test::scratch_folder(), images = folder + "/images", weights = folder + "/weights.safetensors",
              features = folder + "/features.npy", recipe = folder + "/recipe.json";

  Inputs() {
    draw_folder({.classes = 2, .per_class = 4, .test_per_class = 1, .size = 32, .seed = 2}, images);
    Params params;
    const auto network = find_model("resnet8_rd").make(Scope(params, "net"), 2);
    params.allocate(Device::cpu, DType::f32, 7);
    write_safetensors(weights, weights_as_tensors(params, "net"), {{"model", "resnet8_rd"}});
    write_features(features);
    write_file(recipe,
               R"({"dtype": "fp32", "threads": 1, "data": {"image_size": 32, "augmentation": "cifar", "path": ")" +
                   images + R"("}, "student": {"model": "resnet8_rd"}, "method": {"name": "supervised"},
                               "train": {"batch": 4, "max_steps": 1}})");
  }
  std::string network() const {
    return "--model resnet8_rd --threads 1 --batch 8 --size 32 --weights " + weights + " --data " + images + " ";
  }
};

void expect_refused(const std::string& arguments, const std::vector<std::string>& parts) {
  const Outcome outcome = run_program(arguments);
  EXPECT_EQ(outcome.code, 1) << arguments << "\n" << outcome.out << outcome.err;
  EXPECT_TRUE(outcome.err.starts_with("coss: ")) << arguments << "\n" << outcome.err;
  EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << arguments << "\n" << outcome.err;
  for (const std::string& part : parts)
    EXPECT_TRUE(contains(outcome.err, part)) << part << " is not in: " << arguments << "\n" << outcome.err;
}

TEST(Faults, B3MineRefusesItsInputAsOutput) {
  const std::string folder = test::scratch_folder(), features = folder + "/f.npy";
  write_features(features);
  fs::create_symlink("f.npy", folder + "/link.npy");
  fs::create_hard_link(features, folder + "/twin.npy");
  fs::create_directory(folder + "/below");
  const auto before = contents(folder);
  for (const std::string out : {"/f.npy", "/link.npy", "/twin.npy", "/below/../f.npy"})
    for (const char* force : {"", " --force"})
      expect_refused("mine --k 2 --threads 1 --features " + features + " --out " + folder + out + force,
                     {folder + out, "the input itself"});
  EXPECT_EQ(contents(folder), before);
}

TEST(Faults, B3EveryCommandRefusesWithoutForce) {
  const Inputs in;
  const std::string folder = test::scratch_folder(), file = folder + "/file", images = folder + "/images";
  draw_folder({.classes = 2, .per_class = 1, .test_per_class = 0, .size = 16, .seed = 1}, images);
  struct Case {
    std::string arguments, output;
  };
  for (const Case& c :
       std::vector<Case>{{"mine --k 2 --threads 1 --features " + in.features + " --out " + file, file},
                         {"mine --k 2 " + in.network() + "--out " + file, file},
                         {"mine --k 2 " + in.network() + "--out " + folder + "/new.npy", folder + "/new.npy.features"},
                         {"embed " + in.network() + "--out " + folder, folder + "/features.npy"},
                         {"embed " + in.network() + "--out " + folder, folder + "/labels.npy"},
                         {"convert --to safetensors " + in.weights + " " + file, file},
                         {"draw --classes 2 --per-class 2 --test-per-class 1 --size 16 --out " + images,
                          images + "/train/" + drawn_class_name(0) + "/00000.jpg"},
                         {"train " + in.recipe + " --out " + folder + "/run --trace " + file, file}}) {
    SCOPED_TRACE(c.arguments);
    if (!contains(c.output, ".jpg")) write_file(c.output, "mine");
    const auto before = contents(folder);
    const std::string named = contains(c.output, ".jpg") ? images : c.output;
    expect_refused(c.arguments, {named + " is there already", "--force"});
    EXPECT_EQ(contents(folder), before);
    const std::string old = read_file(c.output);
    const Outcome forced = run_program(c.arguments + " --force");
    EXPECT_EQ(forced.code, 0) << forced.err;
    EXPECT_NE(read_file(c.output), old);
    fs::remove(c.output);
    fs::remove(folder + "/features.npy");
  }
}

TEST(Faults, B3InputsStayWhateverIsForced) {
  const Inputs in;
  const auto before = contents(in.folder);
  const std::string image = in.images + "/train/" + drawn_class_name(0) + "/00000.jpg";
  expect_refused("mine --k 2 " + in.network() + "--force --out " + in.weights, {in.weights, "the input itself"});
  expect_refused("mine --k 2 " + in.network() + "--force --out " + image, {image, "input folder"});
  expect_refused("convert --force " + in.weights + " " + in.weights, {in.weights, "the input itself"});
  expect_refused("train " + in.recipe + " --force --out " + in.folder + "/run --trace " + in.recipe,
                 {in.recipe, "the input itself"});
  expect_refused("train " + in.recipe + " --out " + in.folder + " --trace " + in.folder + "/trace.json",
                 {"in the run folder"});
  // A folder of drawn images is replaced only as long as it holds nothing else.
  const std::string photographs = test::scratch_folder() + "/images";
  fs::copy(in.images, photographs, fs::copy_options::recursive);
  write_file(photographs + "/train/" + drawn_class_name(0) + "/holiday.jpg", "mine");
  expect_refused("draw --force --size 16 --out " + photographs, {photographs, "holiday.jpg"});
  EXPECT_EQ(contents(in.folder), before);
  EXPECT_EQ(read_file(photographs + "/train/" + drawn_class_name(0) + "/00000.jpg"), read_file(image));
}

TEST(Faults, B3WhatCannotBeWrittenIsSaidBeforeTheWork) {
  const Inputs in;
  const std::string folder = test::scratch_folder(), missing = folder + "/missing";
  write_file(folder + "/text", "mine");
  fs::create_directory(folder + "/labels.npy");
  fs::create_symlink("nowhere", folder + "/dangling");
  const auto before = contents(folder);
  // The features cannot be read either, but the output is checked first.
  const std::string mine = "mine --k 2 --features /nonexistent.npy --out ";
  expect_refused(mine + missing + "/n.npy", {missing + "/n.npy", "the folder " + missing + " does not exist"});
  expect_refused(mine + folder + "/text/n.npy", {folder + "/text/n.npy"});
  expect_refused(mine + folder, {folder + " is a folder"});
  expect_refused(mine + "/dev/null --force", {"/dev/null is no regular file"});
  expect_refused(mine + folder + "/dangling", {folder + "/dangling is there already"});
  expect_refused("convert /nonexistent.pth " + missing + "/a.pth", {"the folder " + missing + " does not exist"});
  expect_refused("embed --model resnet8_rd --weights /nonexistent.pth --data /nonexistent --force --out " + folder,
                 {folder + "/labels.npy is a folder"});
  expect_refused("train " + in.recipe + " --out " + folder + "/run --trace " + missing + "/t.json",
                 {"the folder " + missing + " does not exist"});
  EXPECT_EQ(contents(folder), before);
  // Folders that were made for a start that failed are removed again.
  expect_refused("embed --model resnet8_rd --weights /nonexistent.pth --data /nonexistent --out " + folder + "/a/b/c",
                 {"/nonexistent"});
  EXPECT_EQ(contents(folder), before);
}

}  // namespace
}  // namespace coss
