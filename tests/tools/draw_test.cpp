// Drawn images: the same for the same seed, different classes, and files that the data sets read.
#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "data/dataset.h"
#include "engine/check.h"
#include "tests/support/support.h"
#include "tools/drawn_images.h"

namespace coss {
namespace {

TEST(Draw, DependsOnItsArgumentsOnly) {
  const auto image = draw_image(3, 32, 1, 17);
  ASSERT_EQ(image.size(), 32u * 32u * 3u);
  EXPECT_EQ(image, draw_image(3, 32, 1, 17));
  EXPECT_NE(image, draw_image(3, 32, 2, 17));
  EXPECT_NE(image, draw_image(3, 32, 1, 18));
  EXPECT_NE(image, draw_image(4, 32, 1, 17));
}

TEST(Draw, ClassesHaveDifferentNames) {
  std::set<std::string> names;
  for (int label = 0; label < kMostDrawnClasses; ++label) names.insert(drawn_class_name(label));
  EXPECT_EQ(names.size(), size_t(kMostDrawnClasses));
}

TEST(Draw, FolderIsADataSet) {
  const std::string out = test::scratch_folder() + "/images/";
  draw_folder({3, 4, 2, 40, 0}, out);
  const auto train = open_dataset(out, Split::train), test = open_dataset(out, Split::test);
  EXPECT_EQ(train->size(), 12);
  EXPECT_EQ(test->size(), 6);
  EXPECT_EQ(train->classes(), 3);
  std::vector<uint8_t> pixels;
  const Region region = train->read(
      0,
      [](int32_t height, int32_t width) {
        return Region{0, 0, height, width};
      },
      pixels);
  EXPECT_EQ(region.h, 40);
  EXPECT_EQ(pixels.size(), 40u * 40u * 3u);
  EXPECT_THROW(draw_folder({3, 4, 2, 40, 0}, out), Error);  // exists
}

TEST(Draw, LeavesNothingBehindOnFailure) {
  const std::string folder = test::scratch_folder();
  EXPECT_THROW(draw_folder({1, 4, 2, 40, 0}, folder + "/images"), Error);
  EXPECT_TRUE(std::filesystem::is_empty(folder));
}

}  // namespace
}  // namespace coss
