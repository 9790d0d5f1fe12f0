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

TEST(Text, PrintableHasNothingThatATerminalObeys) {
  EXPECT_EQ(printable("gr\xc3\xb6\xc3\x9f"
                      "e \xf0\x9f\x90\xb1 a\tb\n"),
            "gr\xc3\xb6\xc3\x9f"
            "e \xf0\x9f\x90\xb1 a?b?");
  EXPECT_EQ(printable("a\tb\n\r", /*lines=*/true), "a\tb\n?");
  EXPECT_EQ(printable("\x1b[2J\x7f\xc2\x9b"
                      "1m"),
            "?[2J??1m");
  EXPECT_EQ(printable("\xe2\x80\xae\xe2\x81\xa6x"), "??x");         // marks that turn the direction of writing
  EXPECT_EQ(printable("\xc0\x9b\xed\xa0\x80\xf8\xff"), "???????");  // no UTF-8
  EXPECT_EQ(printable("\xc3"), "?");
}

}  // namespace
}  // namespace coss::test
