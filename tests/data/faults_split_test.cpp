// Test images of data that has no split of its own: held out by a seed, or from another path, never training images.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "data/subset.h"
#include "tests/data/data_files.h"
#include "tests/support/support.h"

namespace coss::test {
namespace {

namespace fs = std::filesystem;

// `count` images in folder/<name>/.
void make_class(const std::string& folder, const std::string& name, int count) {
  static const std::vector<uint8_t> picture = jpeg_picture(8, 8);
  for (int i = 0; i < count; ++i) write_file(folder + "/" + name + "/" + std::to_string(i) + ".jpg", picture);
}

// "class/3.jpg"
std::set<std::string> names_of(const Dataset& dataset) {
  std::set<std::string> names;
  for (int64_t i = 0; i < dataset.size(); ++i) {
    const fs::path path(dataset.name(i));
    names.insert(path.parent_path().filename().string() + "/" + path.filename().string());
  }
  return names;
}

std::map<int32_t, int> counts_of(const Dataset& dataset) {
  std::map<int32_t, int> counts;
  for (int64_t i = 0; i < dataset.size(); ++i) ++counts[dataset.label(i)];
  return counts;
}

std::string error_of(const DataSource& source, Split split = Split::test) {
  try {
    open_dataset(source, split);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

void expect_error(const DataSource& source, const std::vector<std::string>& words) {
  const std::string error = error_of(source);
  EXPECT_NE(error, "");
  for (const std::string& word : words) EXPECT_NE(error.find(word), std::string::npos) << error << " lacks " << word;
}

TEST(Faults, A1SplitIsStratifiedAndSeeded) {
  const std::string folder = scratch_folder();
  for (const auto& [name, count] : {std::pair("a", 10), {"b", 31}, {"c", 2}, {"d", 1}}) make_class(folder, name, count);
  const DataSource source{.path = folder, .held_out = 0.2, .seed = 5};
  const auto train = open_dataset(source, Split::train), test = open_dataset(source, Split::test);
  EXPECT_EQ(counts_of(*test), (std::map<int32_t, int>{{0, 2}, {1, 6}, {2, 1}}));
  EXPECT_EQ(counts_of(*train), (std::map<int32_t, int>{{0, 8}, {1, 25}, {2, 1}, {3, 1}}));
  EXPECT_EQ(train->classes(), 4);
  EXPECT_EQ(test->classes(), 4);
  std::set<std::string> both = names_of(*train);
  both.merge(names_of(*test));
  EXPECT_EQ(both.size(), 44u);

  EXPECT_EQ(names_of(*test), names_of(*open_dataset(source, Split::test)));
  EXPECT_NE(names_of(*test),
            names_of(*open_dataset(DataSource{.path = folder, .held_out = 0.2, .seed = 6}, Split::test)));
  const DataSource first{.path = folder, .held_out = 0.2, .seed = 0};
  // The draw must not change between releases: another draw would grade a student by its training images.
  EXPECT_EQ(names_of(*open_dataset(first, Split::test)),
            (std::set<std::string>{"a/3.jpg", "a/6.jpg", "b/10.jpg", "b/11.jpg", "b/28.jpg", "b/3.jpg", "b/30.jpg",
                                   "b/9.jpg", "c/0.jpg"}));
  // Every class keeps a training image for any share.
  const DataSource most{.path = folder, .held_out = 0.999};
  EXPECT_EQ(counts_of(*open_dataset(most, Split::train)), (std::map<int32_t, int>{{0, 1}, {1, 1}, {2, 1}, {3, 1}}));
}

TEST(Faults, A1SplitOfOneClassDependsOnThatClassOnly) {
  const std::string folder = scratch_folder();
  for (const char* name : {"b", "d"}) make_class(folder, name, 12);
  const DataSource source{.path = folder, .held_out = 0.25};
  const std::set<std::string> before = names_of(*open_dataset(source, Split::test));
  for (const char* name : {"a", "c"}) make_class(folder, name, 12);
  const std::set<std::string> after = names_of(*open_dataset(source, Split::test));
  EXPECT_EQ(after.size(), 12u);
  EXPECT_TRUE(std::includes(after.begin(), after.end(), before.begin(), before.end()));
}

TEST(Faults, A1SplitOfListsAndOfImagesWithoutLabels) {
  const std::string folder = scratch_folder();
  std::string lines, plain;
  for (int i = 0; i < 20; ++i) {
    plain += "images/" + std::to_string(i) + ".jpg\n";
    lines += "images/" + std::to_string(i) + ".jpg " + std::to_string(i % 2 * 7) + "\n";
  }
  write_text(folder + "/list.txt", lines);
  write_text(folder + "/plain.txt", plain);
  EXPECT_EQ(counts_of(*open_dataset(DataSource{.path = folder + "/list.txt", .held_out = 0.3}, Split::test)),
            (std::map<int32_t, int>{{0, 3}, {7, 3}}));
  EXPECT_EQ(open_dataset(DataSource{.path = folder + "/plain.txt", .held_out = 0.3}, Split::train)->size(), 14);
  write_text(folder + "/single.txt", "a.jpg 0\nb.jpg 1\n");
  expect_error({.path = folder + "/single.txt", .held_out = 0.3}, {"single.txt", "two images"});
  // A file in two lines could be in both parts.
  std::string twice;
  for (int i = 0; i < 20; ++i) twice += "same.jpg 0\n";
  write_text(folder + "/twice.txt", twice);
  expect_error({.path = folder + "/twice.txt", .held_out = 0.3}, {"same.jpg", "training image and a test image"});
}

TEST(Faults, A1SubsetReadsTheImagesOfItsDataSet) {
  const std::string folder = scratch_folder();
  for (int i = 0; i < 4; ++i) write_file(folder + "/" + std::to_string(i) + ".png", jpeg_picture(8 + i, 8));
  const Subset some(open_dataset(folder, Split::train), {3, 1});
  std::vector<uint8_t> pixels;
  const auto all = [](int32_t h, int32_t w) { return Region{0, 0, h, w}; };
  EXPECT_EQ(some.read(0, all, pixels).w, 11);
  EXPECT_EQ(some.read(1, all, pixels).w, 9);
  EXPECT_TRUE(some.name(1).ends_with("/1.png"));
}

TEST(Faults, A1OwnSplitsAreKnown) {
  const std::string folder = scratch_folder();
  make_class(folder + "/plain", "a", 2);
  make_class(folder + "/valued/train", "a", 2);
  make_class(folder + "/valued/val", "a", 2);
  make_class(folder + "/tested/train", "a", 2);
  make_class(folder + "/tested/test", "a", 2);
  make_class(folder + "/alone/train", "a", 2);
  write_file(folder + "/cifar/test_batch.bin", {1});
  write_text(folder + "/list.txt", "a.jpg 0\n");
  for (const char* name : {"/plain", "/alone", "/list.txt", "/missing"}) {
    EXPECT_FALSE(own_split(folder + name)) << name;
    EXPECT_FALSE(has_test_images({.path = folder + name})) << name;
  }
  EXPECT_EQ(own_split(folder + "/valued")->test, "val/");
  EXPECT_EQ(own_split(folder + "/tested")->test, "test/");
  EXPECT_EQ(own_split(folder + "/cifar")->test, "test_batch.bin");
  EXPECT_TRUE(has_test_images({.path = folder + "/valued"}));
  EXPECT_TRUE(has_test_images({.path = folder + "/plain", .held_out = 0.2}));
  expect_error({.path = folder + "/valued", .held_out = 0.5}, {"train/ and val/", "--split"});
  expect_error({.path = folder + "/tested", .test = folder + "/plain"}, {"train/ and test/", "--test"});
  expect_error({.path = folder + "/cifar", .held_out = 0.5}, {"test_batch.bin"});
  // A folder that has only train/ can be divided.
  EXPECT_EQ(open_dataset(DataSource{.path = folder + "/alone", .held_out = 0.5}, Split::test)->size(), 1);
}

TEST(Faults, A1TestFoldersMatchClassesByName) {
  const std::string folder = scratch_folder();
  for (const char* name : {"a", "b", "c"}) make_class(folder + "/train", name, 3);
  for (const char* name : {"b", "c"}) make_class(folder + "/other", name, 2);
  const auto test = open_dataset(DataSource{.path = folder + "/train", .test = folder + "/other"}, Split::test);
  EXPECT_EQ(counts_of(*test), (std::map<int32_t, int>{{1, 2}, {2, 2}}));
  EXPECT_EQ(test->classes(), 3);
  // The test part of a folder that has a split of its own.
  make_class(folder + "/split/train", "c", 4);
  make_class(folder + "/split/val", "c", 5);
  EXPECT_EQ(counts_of(*open_dataset(DataSource{.path = folder + "/train", .test = folder + "/split"}, Split::test)),
            (std::map<int32_t, int>{{2, 5}}));
  make_class(folder + "/other", "d", 2);
  expect_error({.path = folder + "/train", .test = folder + "/other"}, {"other/d", "training folder does not have"});
}

TEST(Faults, A1TestImagesThatCannotGradeAreRefused) {
  const std::string folder = scratch_folder();
  for (const char* name : {"a", "b"}) make_class(folder + "/train", name, 3);
  make_class(folder + "/flat", "", 3);
  fs::create_directory_symlink(folder + "/train", folder + "/link");
  write_text(folder + "/list.txt", "x.jpg 0\ny.jpg 1\n");
  write_text(folder + "/more.txt", "z.jpg 2\n");
  write_text(folder + "/again.txt", "z.jpg 1\nlink/../x.jpg 0\n");
  write_text(folder + "/good.txt", "z.jpg 1\n");
  const std::string train = folder + "/train", list = folder + "/list.txt";
  for (const std::string& same : {train, train + "/", folder + "/link", folder + "/./train"})
    expect_error({.path = train, .test = same}, {same, "holds the training images"});
  expect_error({.path = list, .test = list}, {"holds the training images"});
  expect_error({.path = train, .test = folder + "/flat"}, {"flat", "no labels"});
  expect_error({.path = folder + "/flat", .test = train}, {"flat", "no labels"});
  expect_error({.path = train, .test = list}, {"list.txt", "numbers", "names"});
  expect_error({.path = list, .test = train}, {"list.txt", "numbers", "names"});
  expect_error({.path = list, .test = folder + "/more.txt"}, {"more.txt", "labels up to 2", "up to 1"});
  expect_error({.path = list, .test = folder + "/again.txt"}, {"x.jpg", "training image and a test image"});
  expect_error({.path = train, .test = folder + "/nothing"}, {"nothing", "no such"});
  EXPECT_EQ(open_dataset(DataSource{.path = list, .test = folder + "/good.txt"}, Split::test)->size(), 1);
  EXPECT_NE(error_of({.path = train, .test = folder + "/nothing"}, Split::train), "");
}

}  // namespace
}  // namespace coss::test
