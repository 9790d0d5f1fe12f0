// Damaged files: each kind of file, truncated at every sixteenth and with flipped bytes in its first 4 KiB, gives an
// Error that names it or a valid result, and nothing else.
#include <algorithm>

#include "formats/npy.h"
#include "tests/formats/format_support.h"
#include "tests/support/support.h"

namespace coss::test {
namespace {

bool npy_reads_or_refuses(const std::string& path) {
  try {
    read_npy(path);
    return true;
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(path), std::string::npos) << error.what();
    return false;
  }
}

class Hostile : public ::testing::TestWithParam<const char*> {
 protected:
  const std::string name_ = GetParam();
  const std::string whole_ = read_text(golden_path("formats/" + name_));
  const std::string path_ = scratch_folder() + "/" + name_;
  bool good(const std::string& bytes) {
    write_text(path_, bytes);
    return name_.ends_with(".npy") ? npy_reads_or_refuses(path_) : reads_or_refuses(path_);
  }
};

TEST_P(Hostile, Truncated) {
  ASSERT_FALSE(whole_.empty());
  EXPECT_TRUE(good(whole_));
  for (size_t sixteenths = 0; sixteenths < 16; ++sixteenths) {
    EXPECT_FALSE(good(whole_.substr(0, whole_.size() * sixteenths / 16))) << sixteenths;
  }
  EXPECT_FALSE(good(whole_.substr(0, whole_.size() - 1)));
}

TEST_P(Hostile, FlippedBytes) {
  int refused = 0;
  const size_t end = std::min<size_t>(whole_.size(), 4096);
  for (size_t at = 0; at < end; ++at) {
    for (int flip : {0xff, 0x01}) {
      std::string bytes = whole_;
      bytes[at] = char(uint8_t(bytes[at]) ^ flip);
      refused += !good(bytes);
    }
  }
  EXPECT_GT(refused, 0);
}

// The archive's checksums catch accidental damage in a zip; a malicious file has right checksums.
TEST(HostileZip, FlippedPickleWithRightChecksums) {
  const std::string path = scratch_folder() + "/flipped.pt";
  ZipEntries entries = read_zip(golden_path("formats/zip.pt"));
  const auto pickle = std::find_if(entries.begin(), entries.end(),
                                   [](const auto& entry) { return entry.first.ends_with("/data.pkl"); });
  ASSERT_NE(pickle, entries.end());
  const std::string whole = pickle->second;
  write_zip(path, entries);
  EXPECT_TRUE(reads_or_refuses(path));
  int refused = 0;
  for (size_t at = 0; at < whole.size(); ++at) {
    pickle->second = whole;
    pickle->second[at] = char(uint8_t(whole[at]) ^ (at % 2 ? 0xff : 0x01));
    write_zip(path, entries);
    refused += !reads_or_refuses(path);
  }
  EXPECT_GT(refused, 0);
}

INSTANTIATE_TEST_SUITE_P(Formats, Hostile,
                         ::testing::Values("zip.pt", "legacy.pt", "tar.pth", "module.pt", "script.pt", "stored.npz",
                                           "deflated.npz", "expected.safetensors", "c_order.npy", "fortran.npy"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::replace(name.begin(), name.end(), '.', '_');
                           return name;
                         });

}  // namespace
}  // namespace coss::test
