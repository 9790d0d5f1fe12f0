// Datasets: the kind is recognized from the path, order and labels are torchvision's, and bad data is refused in words.
#include "data/dataset.h"

#include <gtest/gtest.h>

#include "data/decode.h"
#include "tests/data/data_files.h"
#include "tests/support/support.h"

namespace coss::test {
namespace {

namespace fs = std::filesystem;

std::string error_of(const std::string& path, Split split = Split::train) {
  try {
    open_dataset(path, split);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

void expect_error(const std::string& path, const std::vector<std::string>& words, Split split = Split::train) {
  const std::string error = error_of(path, split);
  EXPECT_NE(error, "") << path;
  for (const std::string& word : words) EXPECT_NE(error.find(word), std::string::npos) << error << " lacks " << word;
}

std::vector<std::string> names_of(const Dataset& dataset, const std::string& folder) {
  std::vector<std::string> names;
  for (int64_t i = 0; i < dataset.size(); ++i) names.push_back(fs::relative(dataset.name(i), folder).string());
  return names;
}

std::vector<int32_t> labels_of(const Dataset& dataset) {
  std::vector<int32_t> labels;
  for (int64_t i = 0; i < dataset.size(); ++i) labels.push_back(dataset.label(i));
  return labels;
}

// `count` records whose pixel (y, x, c) is y + 2 x + 64 c + record.
std::vector<uint8_t> cifar_records(int count, int label_bytes, int classes) {
  std::vector<uint8_t> bytes;
  for (int record = 0; record < count; ++record) {
    if (label_bytes == 2) bytes.push_back(uint8_t(record % 20));
    bytes.push_back(uint8_t(record * 3 % classes));
    for (int c = 0; c < 3; ++c) {
      for (int y = 0; y < 32; ++y) {
        for (int x = 0; x < 32; ++x) bytes.push_back(uint8_t(y + 2 * x + 64 * c + record));
      }
    }
  }
  return bytes;
}

TEST(Dataset, Cifar10RecordsBecomePixels) {
  const std::string folder = scratch_folder();
  write_file(folder + "/data_batch_1.bin", cifar_records(3, 1, 10));
  write_file(folder + "/data_batch_2.bin", cifar_records(4, 1, 10));
  write_file(folder + "/test_batch.bin", cifar_records(2, 1, 10));
  const auto train = open_dataset(folder, Split::train), test = open_dataset(folder, Split::test);
  EXPECT_EQ(train->size(), 7);
  EXPECT_EQ(test->size(), 2);
  EXPECT_EQ(train->classes(), 10);
  EXPECT_EQ(labels_of(*train), (std::vector<int32_t>{0, 3, 6, 0, 3, 6, 9}));
  EXPECT_EQ(train->name(6), "data_batch_2.bin[3]");
  std::vector<uint8_t> pixels = {7};
  train->read(
      6,
      [](int32_t h, int32_t w) {
        return Region{h - 2, w - 3, 2, 3};
      },
      pixels);
  ASSERT_EQ(pixels.size(), 1u + 18u);
  EXPECT_EQ(pixels[0], 7);
  for (int y = 0; y < 2; ++y) {
    for (int x = 0; x < 3; ++x) {
      for (int c = 0; c < 3; ++c) {
        EXPECT_EQ(pixels[size_t(1 + (y * 3 + x) * 3 + c)], uint8_t(30 + y + 2 * (29 + x) + 64 * c + 3));
      }
    }
  }
}

TEST(Dataset, Cifar100UsesTheFineLabel) {
  const std::string folder = scratch_folder();
  write_file(folder + "/train.bin", cifar_records(40, 2, 100));
  write_file(folder + "/test.bin", cifar_records(2, 2, 100));
  const auto train = open_dataset(folder, Split::train);
  EXPECT_EQ(train->classes(), 100);
  EXPECT_EQ(train->label(39), 39 * 3 % 100);
  EXPECT_EQ(open_dataset(folder, Split::test)->size(), 2);
}

TEST(Dataset, BrokenCifarFilesAreNamed) {
  const std::string folder = scratch_folder();
  auto bytes = cifar_records(2, 1, 10);
  bytes.pop_back();
  write_file(folder + "/data_batch_1.bin", bytes);
  expect_error(folder, {"data_batch_1.bin", "cut short", "download"});
  write_file(folder + "/data_batch_1.bin", {});
  expect_error(folder, {"data_batch_1.bin"});
  bytes = cifar_records(2, 1, 10);
  bytes[3073] = 10;
  write_file(folder + "/data_batch_1.bin", bytes);
  expect_error(folder, {"data_batch_1.bin", "record 1", "label 10"});
  write_file(folder + "/data_batch_1.bin", cifar_records(2, 1, 10));
  expect_error(folder, {"test_batch.bin"}, Split::test);
  write_file(folder + "/data_batch_3.bin", cifar_records(2, 1, 10));
  expect_error(folder, {"lacks data_batch_2.bin"});
}

TEST(Dataset, ClassFoldersAreLabeledInOrderOfTheirNames) {
  const std::string folder = scratch_folder();
  for (const char* name : {"zebra/b.JPG", "zebra/a.jpeg", "ant/sub/c.jpg", "ant/z.PNG", "Bee/x.bmp", "Bee/notes.txt",
                           ".hidden/y.jpg", "stray.jpg"}) {
    write_file(folder + "/" + name, jpeg_picture(8, 8));
  }
  const auto dataset = open_dataset(folder, Split::train);
  EXPECT_EQ(names_of(*dataset, folder),
            (std::vector<std::string>{"Bee/x.bmp", "ant/z.PNG", "ant/sub/c.jpg", "zebra/a.jpeg", "zebra/b.JPG"}));
  EXPECT_EQ(labels_of(*dataset), (std::vector<int32_t>{0, 1, 1, 2, 2}));
  EXPECT_EQ(dataset->classes(), 3);
  // The bytes decide about the format: x.bmp is a JPEG.
  std::vector<uint8_t> pixels;
  dataset->read(
      0,
      [](int32_t h, int32_t w) {
        return Region{0, 0, h, w};
      },
      pixels);
  EXPECT_EQ(pixels.size(), 8u * 8 * 3);
  fs::create_directory(folder + "/empty");
  expect_error(folder, {"/empty", "holds no image"});
}

TEST(Dataset, SplitFoldersShareTheTrainingClasses) {
  const std::string folder = scratch_folder();
  for (const char* name : {"train/a/1.jpg", "train/b/2.jpg", "train/c/3.jpg", "val/a/4.jpg", "val/c/5.jpg"}) {
    write_file(folder + "/" + name, jpeg_picture(8, 8));
  }
  EXPECT_EQ(labels_of(*open_dataset(folder, Split::train)), (std::vector<int32_t>{0, 1, 2}));
  EXPECT_EQ(labels_of(*open_dataset(folder, Split::test)), (std::vector<int32_t>{0, 2}));
  write_file(folder + "/val/d/6.jpg", jpeg_picture(8, 8));
  expect_error(folder, {"val/d"}, Split::test);
  fs::remove_all(folder + "/val");
  expect_error(folder, {"neither val/ nor test/"}, Split::test);
  EXPECT_EQ(open_dataset(folder, Split::train)->size(), 3);
}

TEST(Dataset, FlatFoldersHaveNoLabels) {
  const std::string folder = scratch_folder();
  for (const char* name : {"b.png", "a.jpg", "readme.md"}) write_file(folder + "/" + name, jpeg_picture(8, 8));
  const auto dataset = open_dataset(folder, Split::train);
  EXPECT_EQ(names_of(*dataset, folder), (std::vector<std::string>{"a.jpg", "b.png"}));
  EXPECT_EQ(labels_of(*dataset), (std::vector<int32_t>{-1, -1}));
  EXPECT_EQ(dataset->classes(), 0);
}

TEST(Dataset, ListsAreRelativeToThemselves) {
  const std::string folder = scratch_folder();
  write_file(folder + "/pictures/a b.jpg", jpeg_picture(9, 7));
  write_text(folder + "/list.txt",
             "pictures/a b.jpg 4\r\n\n" + folder + "/pictures/a b.jpg\t1\nmissing.jpg 2\n/dev/zero 0\n");
  const auto dataset = open_dataset(folder + "/list.txt", Split::train);
  EXPECT_EQ(labels_of(*dataset), (std::vector<int32_t>{4, 1, 2, 0}));
  EXPECT_EQ(dataset->classes(), 5);
  std::vector<uint8_t> pixels;
  const auto all = [](int32_t h, int32_t w) { return Region{0, 0, h, w}; };
  for (const int64_t i : {0, 1}) EXPECT_EQ(dataset->read(i, all, pixels).h, 7);
  for (const int64_t i : {2, 3}) EXPECT_THROW(dataset->read(i, all, pixels), BrokenImage);
  EXPECT_EQ(pixels.size(), 2u * 9 * 7 * 3);

  write_text(folder + "/plain.txt", "a 1.jpg\nb.jpg\n");
  EXPECT_EQ(open_dataset(folder + "/plain.txt", Split::test)->classes(), 0);
  EXPECT_EQ(open_dataset(folder + "/plain.txt", Split::test)->name(0), folder + "/a 1.jpg");
}

TEST(Dataset, HostileListsAreRefusedWithTheirLine) {
  const std::string folder = scratch_folder();
  const std::string list = folder + "/list.txt";
  write_text(list, "a.jpg 1\nb.jpg\n");
  expect_error(list, {"list.txt:2", "every line"});
  write_text(list, "a.jpg 99999999999999999999\n");
  expect_error(list, {"list.txt:1", "99999999999999999999"});
  write_text(list, "a.jpg -3\n");
  expect_error(list, {"list.txt:1", "-3"});
  write_text(list, std::string("a\0b.jpg\n", 8));
  expect_error(list, {"list.txt:1", "not text"});
  write_text(list, "\n \n");
  expect_error(list, {"list.txt", "empty"});
}

TEST(Dataset, MissingAndEmptyPathsSayWhatWasLookedFor) {
  const std::string folder = scratch_folder();
  expect_error(folder + "/nothing", {"nothing", "no such"});
  expect_error(folder, {folder, "data_batch_1.bin", "val/", "jpg"});
  write_text(folder + "/file.tar", "x");
  expect_error(folder + "/file.tar", {"file.tar", ".txt"});
}

TEST(Dataset, SharedCifarAndImagenette) {
  const auto shared = shared_folder();
  if (!shared) GTEST_SKIP() << "no shared folder";
  const auto cifar = open_dataset(*shared + "/data/cifar-10-batches-bin", Split::train);
  EXPECT_EQ(cifar->size(), 50000);
  EXPECT_EQ(cifar->classes(), 10);
  std::vector<int> counts(10);
  for (int64_t i = 0; i < cifar->size(); ++i) ++counts.at(size_t(cifar->label(i)));
  for (const int count : counts) EXPECT_EQ(count, 5000);
  const auto nette = open_dataset(*shared + "/data/imagenette", Split::test);
  EXPECT_EQ(nette->classes(), 10);
  EXPECT_EQ(nette->label(0), 0);
  EXPECT_EQ(nette->label(nette->size() - 1), 9);
}

}  // namespace
}  // namespace coss::test
