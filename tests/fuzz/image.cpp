// Fuzz target: image files, mainly JPEG: the whole picture, and a region that is cut out while decoding.
#include <algorithm>

#include "data/decode.h"
#include "tests/fuzz/fuzz.h"

void coss::test::fuzz_one(const std::vector<uint8_t>& bytes) {
  const std::string name = "the image's file";
  // Large pictures take more time but no other paths.
  constexpr int64_t kMostArea = 1 << 18;
  const auto whole = [](int32_t height, int32_t width) {
    if (int64_t(height) * width > kMostArea) return Region{0, 0, 1, 1};
    return Region{0, 0, height, width};
  };
  const auto middle = [](int32_t height, int32_t width) {
    return Region{height / 3, width / 3, std::min(64, (height + 2) / 3), std::min(64, (width + 2) / 3)};
  };
  for (const ChooseRegion& choose : {ChooseRegion(whole), ChooseRegion(middle)}) {
    std::vector<uint8_t> pixels;
    reads_or_refuses(name, [&] { decode_image({name, bytes}, choose, pixels); });
  }
}
