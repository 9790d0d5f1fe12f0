// Decoding: the same pixels as Pillow's, a decoded crop equal to the crop of the whole image, and errors for broken
// files of every kind.
#include <gtest/gtest.h>

#include <algorithm>

#include "engine/philox.h"
#include "tests/data/data_files.h"
#include "tests/data/image_cases.h"
#include "tests/support/support.h"

namespace coss::test {
namespace {

TEST(Decode, EveryFormatGivesPillowsPixels) {
  const TensorFile file = open_tensor_file(golden_path("images_files.safetensors"));
  const auto names = golden_names(file, "file");
  ASSERT_GE(names.size(), 14u);
  for (const std::string& name : names) {
    const Pixels expected = golden_pixels(file, name + ".pixels");
    const Decoded got = decode(golden_bytes(file, name + ".file"));
    ASSERT_EQ(got.height, expected.h) << name;
    ASSERT_EQ(got.width, expected.w) << name;
    EXPECT_EQ(difference(got.pixels, expected.bytes).largest, 0) << name;
  }
}

TEST(Decode, RealFilesAgreeWithPillowThroughDecodingAndResizing) {
  const auto shared = shared_folder();
  if (!shared) GTEST_SKIP() << "no shared folder";
  const TensorFile file = open_tensor_file(golden_path("images_real.safetensors"));
  for (const std::string& name : golden_names(file, "path")) {
    const std::vector<uint8_t> path = golden_bytes(file, name + ".path");
    const auto ints = golden_values<int32_t>(file, name + ".ints");
    const std::string full = *shared + "/data/imagenette/" + std::string(path.begin(), path.end());
    const Decoded got = decode(read_bytes(full), {ints.at(16), ints.at(17), ints.at(18), ints.at(19)}, full);
    const Pixels expected = golden_pixels(file, name + ".expected");
    const Pixels result = augmented(golden_params(file, name), got.pixels, expected.h, expected.w);
    EXPECT_EQ(difference(result.bytes, expected.bytes).largest, 0) << full;
  }
}

// Random regions, and the ones at the corners.
void expect_crops_equal_whole(const std::vector<uint8_t>& bytes, uint64_t seed, int crops, const std::string& what) {
  const Decoded whole = decode(bytes);
  RandomStream random(seed, RandomUse::other);
  auto below = [&](int32_t n) { return int32_t(random.below(uint32_t(n))); };
  for (int i = 0; i < crops; ++i) {
    Region r;
    r.h = 1 + below(whole.height);
    r.w = 1 + below(whole.width);
    r.y = i % 4 == 0 ? 0 : i % 4 == 1 ? whole.height - r.h : below(whole.height - r.h + 1);
    r.x = i % 3 == 0 ? 0 : i % 3 == 1 ? whole.width - r.w : below(whole.width - r.w + 1);
    const Decoded part = decode(bytes, r);
    ASSERT_EQ(difference(part.pixels, cut(whole, r)).largest, 0)
        << what << ": " << r.h << " x " << r.w << " at " << r.y << ", " << r.x;
  }
}

TEST(Decode, CropsEqualTheWholeImageForEverySampling) {
  for (const auto& [h, v] : {std::pair(1, 1), {2, 1}, {1, 2}, {2, 2}, {4, 1}}) {
    for (const bool progressive : {false, true}) {
      const auto bytes = jpeg_picture(151, 117, h, {.sampling_h = h, .sampling_v = v, .progressive = progressive});
      expect_crops_equal_whole(bytes, uint64_t(h * 10 + v), 40,
                               std::to_string(h) + "x" + std::to_string(v) + (progressive ? " progressive" : ""));
    }
  }
  expect_crops_equal_whole(jpeg_picture(90, 70, 1, {.channels = 1}), 1, 20, "gray");
  expect_crops_equal_whole(jpeg_picture(90, 70, 1, {.channels = 4}), 2, 20, "CMYK");
}

TEST(Decode, CropsOfRealFilesEqualTheWholeImage) {
  const auto shared = shared_folder();
  if (!shared) GTEST_SKIP() << "no shared folder";
  const auto dataset = open_dataset(*shared + "/data/imagenette", Split::test);
  for (int64_t i = 0; i < dataset->size(); i += 23) {
    expect_crops_equal_whole(read_bytes(dataset->name(i)), uint64_t(i), 6, dataset->name(i));
  }
}

TEST(Decode, CropsOfOtherFormatsEqualTheWholeImage) {
  const TensorFile file = open_tensor_file(golden_path("images_files.safetensors"));
  for (const char* name : {"png_rgb", "png_palette", "bmp", "ppm", "pgm"}) {
    expect_crops_equal_whole(golden_bytes(file, std::string(name) + ".file"), 3, 10, name);
  }
}

TEST(Decode, SixteenBitAndScaledPnm) {
  const std::string header = "P6 # a comment\n1 1\n65535\n", scaled = "P5\n2 1\n15\n";
  std::vector<uint8_t> bytes(header.begin(), header.end());
  for (const int value : {0x12, 0xff, 0x80, 0x01, 0xff, 0xff}) bytes.push_back(uint8_t(value));
  EXPECT_EQ(decode(bytes).pixels, (std::vector<uint8_t>{0x12, 0x80, 0xff}));
  bytes.assign(scaled.begin(), scaled.end());
  bytes.insert(bytes.end(), {15, 3});
  EXPECT_EQ(decode(bytes).pixels, (std::vector<uint8_t>{255, 255, 255, 51, 51, 51}));
}

// The error names the file, and earlier pixels in the buffer stay.
void expect_broken(const std::vector<uint8_t>& bytes, const std::string& what) {
  std::vector<uint8_t> pixels = {1, 2, 3};
  const std::string name = "folder/broken.jpg";
  try {
    decode_image(
        {name, bytes},
        [](int32_t h, int32_t w) {
          return Region{0, 0, h, w};
        },
        pixels);
    ADD_FAILURE() << what << " was accepted";
  } catch (const BrokenImage& error) {
    EXPECT_NE(std::string(error.what()).find(name), std::string::npos) << error.what();
  }
  EXPECT_EQ(pixels, (std::vector<uint8_t>{1, 2, 3})) << what;
}

TEST(Decode, BrokenFilesAreRefused) {
  const std::string text = "this is no picture at all";
  expect_broken({}, "an empty file");
  expect_broken(std::vector<uint8_t>(text.begin(), text.end()), "a text");
  expect_broken(std::vector<uint8_t>(1000, 0), "zeros");
  expect_broken({0xff, 0xd8, 0xff}, "a JPEG of three bytes");
  const auto jpeg = jpeg_picture(64, 48);
  for (const size_t share : {2, 10, 50, 90, 97}) {
    expect_broken({jpeg.begin(), jpeg.begin() + std::ptrdiff_t(jpeg.size() * share / 100)}, "a truncated JPEG");
  }
  const auto progressive = jpeg_picture(64, 48, 0, {.progressive = true});
  expect_broken({progressive.begin(), progressive.begin() + std::ptrdiff_t(progressive.size() / 2)}, "progressive");
  const TensorFile file = open_tensor_file(golden_path("images_files.safetensors"));
  for (const char* name : {"png_rgb", "png_palette", "bmp", "ppm", "pgm"}) {
    const auto whole = golden_bytes(file, std::string(name) + ".file");
    for (const size_t bytes : {size_t(9), whole.size() / 2, whole.size() - 13}) {
      expect_broken({whole.begin(), whole.begin() + std::ptrdiff_t(bytes)}, std::string("a truncated ") + name);
    }
  }
}

TEST(Decode, HugeDimensionsAreRefusedBeforeAllocation) {
  auto jpeg = jpeg_picture(64, 48);
  for (size_t i = 0; i + 8 < jpeg.size(); ++i) {
    if (jpeg[i] == 0xff && jpeg[i + 1] == 0xc0) jpeg[i + 5] = jpeg[i + 6] = jpeg[i + 7] = jpeg[i + 8] = 0xff;
  }
  expect_broken(jpeg, "a JPEG of 65535 x 65535");
  const std::string ppm = "P6\n1000000000 1000000000\n255\n";
  expect_broken({ppm.begin(), ppm.end()}, "a huge PPM");
  const TensorFile file = open_tensor_file(golden_path("images_files.safetensors"));
  auto png = golden_bytes(file, "png_rgb.file");
  png[16] = png[20] = 0x00;
  png[17] = png[21] = 0x80;  // 2^23 on each side
  expect_broken(png, "a huge PNG");
  png = golden_bytes(file, "png_rgb.file");
  png[17] = png[21] = 0;
  png[18] = png[22] = 0x20;  // 8192 on each side, and next to no bytes behind it
  expect_broken(png, "a large PNG in a small file");
  png = golden_bytes(file, "png_rgb.file");
  const char kData[] = "IDAT";
  const auto chunk = std::search(png.begin(), png.end(), kData, kData + 4);
  ASSERT_NE(chunk, png.end());
  *(chunk - 4) = 0x3f;  // its length, close to 2^30
  expect_broken(png, "a PNG whose chunk is longer than the file");
}

TEST(Decode, FlippedBytesNeverCrash) {
  const auto jpeg = jpeg_picture(80, 60, 3);
  const TensorFile file = open_tensor_file(golden_path("images_files.safetensors"));
  std::vector<std::vector<uint8_t>> originals = {jpeg, jpeg_picture(40, 40, 1, {.progressive = true})};
  for (const char* name : {"png_rgb", "png_palette", "png_16bit", "bmp", "pgm"}) {
    originals.push_back(golden_bytes(file, std::string(name) + ".file"));
  }
  RandomStream random(7, RandomUse::other);
  int refused = 0;
  for (const auto& original : originals) {
    for (int i = 0; i < 60; ++i) {
      auto bytes = original;
      for (int flips = 0; flips < 3; ++flips) bytes[random.below(uint32_t(bytes.size()))] = uint8_t(random.bits());
      try {
        decode(bytes);
      } catch (const BrokenImage&) {
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 0);
}

}  // namespace
}  // namespace coss::test
