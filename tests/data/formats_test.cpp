// Image formats and lists as users have them: coss reads them like Pillow, or counts them as left out.
#include <gtest/gtest.h>

#include <fstream>

#include "data/image_files.h"
#include "data/image_list.h"
#include "tests/data/data_files.h"
#include "tests/data/image_cases.h"
#include "tests/support/support.h"

namespace coss::test {
namespace {

namespace fs = std::filesystem;

bool can_read(const std::string& name) {
#ifndef COSS_AVIF
  if (name == "avif") return false;
#endif
#ifndef COSS_HEIF
  if (name.starts_with("heic")) return false;
#endif
  return !name.empty();
}

TEST(Faults, B1EveryUsualFormatGivesPillowsPixels) {
  const TensorFile file = open_tensor_file(golden_path("images_formats.safetensors"));
  const auto names = golden_names(file, "file");
  ASSERT_GE(names.size(), 25u);
  for (const std::string& name : names) {
    SCOPED_TRACE(name);
    const std::vector<uint8_t> bytes = golden_bytes(file, name + ".file");
    if (!can_read(name)) {
      EXPECT_THROW(decode(bytes), BrokenImage);
      continue;
    }
    const Pixels expected = golden_pixels(file, name + ".pixels");
    const Decoded got = decode(bytes);
    ASSERT_EQ(got.height, expected.h);
    ASSERT_EQ(got.width, expected.w);
    // Decoders of AVIF and HEIC round colors differently.
    EXPECT_LE(difference(got.pixels, expected.bytes).largest, name == "avif" || name.starts_with("heic") ? 3 : 0);
    const Region part{3, 5, 11, 13};
    EXPECT_EQ(difference(decode(bytes, part).pixels, cut(got, part)).largest, 0);
    for (size_t sixteenths = 1; sixteenths < 16; ++sixteenths) {
      const std::vector<uint8_t> half(bytes.begin(), bytes.begin() + std::ptrdiff_t(bytes.size() * sixteenths / 16));
      try {
        decode(half);  // an error that names the file, or a picture that did not need the rest
      } catch (const BrokenImage& error) {
        EXPECT_NE(std::string(error.what()).find("test.jpg"), std::string::npos) << error.what();
      }
    }
  }
}

TEST(Faults, B1WhatIsLeftOutIsCounted) {
  const std::string folder = scratch_folder();
  const TensorFile file = open_tensor_file(golden_path("images_formats.safetensors"));
  write_file(folder + "/a.webp", golden_bytes(file, "webp_lossy.file"));
  write_file(folder + "/b.tif", golden_bytes(file, "tiff_plain.file"));
  write_file(folder + "/c.JFIF", jpeg_picture(8, 8));
  write_file(folder + "/without_extension", jpeg_picture(8, 8));
  write_file(folder + "/d.dat", golden_bytes(file, "gif_plain.file"));
  for (const char* name : {"._a.jpg", "readme.md", "x.pdf", "y.pdf", ".DS_Store"}) write_text(folder + "/" + name, "x");
  write_file(folder + "/__MACOSX/z.jpg", jpeg_picture(8, 8));
  const auto dataset = open_dataset(folder, Split::train);
  ASSERT_EQ(dataset->size(), 5);
  EXPECT_EQ(dataset->classes(), 0);
  EXPECT_EQ(dataset->notes(), "5 files are no images: 1 .md, 2 .pdf, 1 hidden, 1 resource forks (._)");
  std::vector<uint8_t> pixels;
  const auto all = [](int32_t h, int32_t w) { return Region{0, 0, h, w}; };
  for (int64_t i = 0; i < dataset->size(); ++i) EXPECT_GT(dataset->read(i, all, pixels).h, 0);
}

std::unique_ptr<Dataset> open_names(const std::string& folder, const std::vector<std::string>& names, Split split) {
  for (const std::string& name : names) write_file(folder + "/" + name, jpeg_picture(8, 8));
  return open_dataset(folder, split);
}

std::string refuse_names(const std::vector<std::string>& names) {
  const std::string folder = scratch_folder();
  try {
    open_names(folder, names, Split::train);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Faults, A2SplitsOfEverySpelling) {
  for (const auto& [train, test] : std::vector<std::pair<std::string, std::string>>{
           {"train", "valid"}, {"Train", "Val"}, {"training", "validation"}, {"TRAIN", "eval"}, {"train", "Testing"}}) {
    const std::string folder = scratch_folder();
    const auto images = open_names(folder, {train + "/a/1.jpg", train + "/b/2.jpg", test + "/b/3.jpg"}, Split::train);
    EXPECT_EQ(images->size(), 2) << train;
    EXPECT_EQ(open_dataset(folder, Split::test)->name(0), folder + "/" + test + "/b/3.jpg");
    EXPECT_EQ(own_split(folder)->test, test + "/");
  }
  const std::string folder = scratch_folder();
  const auto three =
      open_names(folder, {"train/a/1.jpg", "test/a/2.jpg", "val/a/3.jpg", "unlabeled/4.jpg"}, Split::test);
  EXPECT_EQ(three->name(0), folder + "/val/a/3.jpg");
  EXPECT_EQ(three->notes(), "not used: test/, unlabeled/ (train/ has the training images, val/ the test images)");
}

TEST(Faults, A2AFolderThatLooksLikeAPartAndIsNone) {
  const auto says = [](const std::string& error, const std::string& part) {
    EXPECT_NE(error.find(part), std::string::npos) << "'" << error << "' lacks '" << part << "'";
  };
  says(refuse_names({"train/a/1.jpg", "Training/a/2.jpg", "val/a/3.jpg"}), "which one holds the training images");
  says(refuse_names({"train/a/1.jpg", "holdout/a/2.jpg"}), "none of which is called val/ or test/");
  says(refuse_names({"val/a/1.jpg", "test/a/2.jpg"}), "and no train/");
  // The classes are vehicles: one is called "train", and one "test".
  const std::string folder = scratch_folder();
  EXPECT_EQ(open_names(folder, {"train/1.jpg", "bus/2.jpg", "car/3.jpg"}, Split::train)->classes(), 3);
  EXPECT_EQ(open_names(scratch_folder(), {"test/1.jpg", "bus/2.jpg"}, Split::train)->classes(), 2);
}

struct ListCase {
  const char *name, *text;
  std::vector<std::string> paths;
  std::vector<int32_t> labels;
};

TEST(Faults, B9ListsOfEveryKind) {
  const std::string folder = scratch_folder();
  for (const ListCase& list : std::vector<ListCase>{
           {"bom.txt",
            "\xef\xbb\xbf"
            "a.jpg 1\r\n# a word\r\nb.jpg 0\r\n",
            {"a.jpg", "b.jpg"},
            {1, 0}},
           {"tab.txt", "a b.jpg\t1\nc.jpg\t2\n", {"a b.jpg", "c.jpg"}, {1, 2}},
           {"quoted.txt", "\"a b.jpg\" 1\n\"c.jpg\" 0\n", {"a b.jpg", "c.jpg"}, {1, 0}},
           {"comma.txt", "a.jpg,3\nb.jpg,4\n", {"a.jpg", "b.jpg"}, {3, 4}},
           {"names.csv", "label,filename,width\ndog,\"a, 1.jpg\",5\ncat,b.jpg,5\n", {"a, 1.jpg", "b.jpg"}, {1, 0}},
           {"plain.csv", "a.jpg\nb.jpg\n", {"a.jpg", "b.jpg"}, {-1, -1}},
           {"table.tsv", "image_path\tclass\nx/\"\"a.jpg\t0\nb.jpg\t1\n", {"x/\"\"a.jpg", "b.jpg"}, {0, 1}},
           {"header.txt", "path,label\na b.jpg,7\n", {"a b.jpg"}, {7}}}) {
    SCOPED_TRACE(list.name);
    write_text(folder + "/" + list.name, list.text);
    const auto dataset = open_dataset(folder + "/" + list.name, Split::train);
    ASSERT_EQ(dataset->size(), int64_t(list.paths.size()));
    for (int64_t i = 0; i < dataset->size(); ++i) {
      EXPECT_EQ(dataset->name(i), folder + "/" + list.paths[size_t(i)]);
      EXPECT_EQ(dataset->label(i), list.labels[size_t(i)]);
    }
  }
  const auto named = open_dataset(folder + "/names.csv", Split::train);
  EXPECT_EQ(named->class_names(), (std::vector<std::string>{"cat", "dog"}));
  write_text(folder + "/test.csv", "file,class\nc.jpg,dog\n");
  EXPECT_EQ(open_dataset({folder + "/names.csv", folder + "/test.csv"}, Split::test)->label(0), 1);
  write_text(folder + "/other.csv", "file,class\nb.jpg,bird\n");
  try {
    open_dataset({folder + "/names.csv", folder + "/other.csv"}, Split::test);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("other.csv:2: 'bird'"), std::string::npos) << error.what();
  }
}

std::string chunk(const char* type, const std::string& data) {
  std::string text;
  for (const int shift : {24, 16, 8, 0}) text += char(uint8_t(data.size() >> shift));
  return text + type + data + "sum.";
}

TEST(Faults, D4ImagesThatTakeTooMuchMemory) {
  // 11,000 x 11,000 pixels of four 16-bit samples are a gigabyte, from a file of one megabyte.
  const std::string header = std::string("\0\0\x2a\xf8\0\0\x2a\xf8\x10\x06\0\0\0", 13);
  const std::string png =
      "\x89PNG\r\n\x1a\n" + chunk("IHDR", header) + chunk("IDAT", std::string(1 << 20, '\0')) + chunk("IEND", "");
  try {
    decode(std::vector<uint8_t>(png.begin(), png.end()));
    ADD_FAILURE();
  } catch (const BrokenImage& error) {
    EXPECT_NE(std::string(error.what()).find("more than 512 MiB of memory"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace coss::test
