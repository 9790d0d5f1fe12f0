// Suggestions for mistyped names.
#include "engine/text.h"

#include <gtest/gtest.h>

namespace coss::test {
namespace {

TEST(Text, EditDistance) {
  EXPECT_EQ(edit_distance("", "abc"), 3);
  EXPECT_EQ(edit_distance("resnet50", "resnet50"), 0);
  EXPECT_EQ(edit_distance("restne50", "resnet50"), 2);
  EXPECT_EQ(edit_distance("trian", "train"), 1);
}

TEST(Text, Nearest) {
  const std::vector<std::string> known{"resnet18", "resnet50", "mobilenet_v2"};
  EXPECT_EQ(nearest("resnet5", known), "resnet50");
  EXPECT_EQ(nearest("mobilenetv2", known), "mobilenet_v2");
  EXPECT_EQ(nearest("zebra", known), "");
  EXPECT_EQ(unknown_name("model", "resnet51", known),
            "unknown model \"resnet51\", did you mean \"resnet50\"? Known: resnet18, resnet50, mobilenet_v2");
}

}  // namespace
}  // namespace coss::test
