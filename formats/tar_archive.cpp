// Headers of 512 bytes, each followed by its member padded to a multiple of 512; pax records and GNU's long names
// change the name or size of the member after them.
#include "formats/tar_archive.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>

namespace coss {
namespace {

constexpr int64_t kBlock = 512;
constexpr int64_t kLongestExtension = 1 << 20;
constexpr size_t kMostMembers = 100'000;

struct Header {
  std::string name;
  int64_t bytes = 0;
  char type = '0';
};

// What the headers before a member say about it.
struct Extension {
  std::optional<std::string> name;
  std::optional<int64_t> bytes;
};

class Parser {
 public:
  explicit Parser(const FileBytes& file) : file_(file) {}

  std::map<std::string, TarMember> parse() {
    std::map<std::string, TarMember> members;
    Extension extension;
    while (at_ < file_.size()) {
      Header header;
      if (!read_header(header)) break;
      if (extension.name && !extends(header.type)) header.name = *extension.name;
      if (extension.bytes && !extends(header.type)) header.bytes = *extension.bytes;
      check_size(header);
      if (extends(header.type)) {
        read_extension(header, extension);
      } else {
        extension = {};
        const bool regular = header.type == '0' || header.type == '\0' || header.type == '7';
        if (regular && !members.emplace(header.name, TarMember{at_, header.bytes}).second) {
          throw Error(file_.path() + ": the tar archive has two members named '" + header.name + "'");
        }
        COSS_CHECK(members.size() <= kMostMembers, file_.path() + ": the tar archive has too many members");
      }
      // This cannot overflow, because the member lies inside the file. The last member may lack its padding.
      at_ = std::min(at_ + (header.bytes + kBlock - 1) / kBlock * kBlock, file_.size());
    }
    return members;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(file_.path() + ": the tar archive is corrupt: " + what + " at byte " + std::to_string(at_));
  }

  static bool extends(char type) { return type == 'x' || type == 'g' || type == 'L' || type == 'K'; }

  // Returns false at the block of zeros that ends the archive; else leaves the position at the member.
  bool read_header(Header& header) {
    COSS_CHECK(file_.size() - at_ >= kBlock, file_.path() + " is truncated: the tar archive ends in a header");
    uint8_t block[kBlock];
    file_.read(at_, block, kBlock);
    if (std::all_of(block, block + kBlock, [](uint8_t byte) { return byte == 0; })) return false;
    int64_t sum = 0;
    for (int64_t i = 0; i < kBlock; ++i) sum += i >= 148 && i < 156 ? ' ' : block[i];
    if (number(block + 148, 8) != sum) fail("a header has a wrong checksum");
    if (std::memcmp(block + 257, "ustar", 5) != 0) fail("a header is of another format");
    const std::string prefix = text(block + 345, block[262] ? 0 : 155);  // GNU's old format has times there
    header.name = (prefix.empty() ? "" : prefix + "/") + text(block, 100);
    header.bytes = number(block + 124, 12);
    header.type = char(block[156]);
    at_ += kBlock;
    return true;
  }

  void check_size(const Header& header) const {
    COSS_CHECK(header.bytes >= 0,
               file_.path() + ": member '" + header.name + "' of the tar archive has a negative size");
    const int64_t left = file_.size() - at_;
    COSS_CHECK(header.bytes <= left, file_.path() + " is truncated or corrupt: member '" + header.name +
                                         "' of the tar archive has " + std::to_string(header.bytes) +
                                         " bytes, of which the file holds " + std::to_string(left));
  }

  static std::string text(const uint8_t* from, size_t most) {
    const uint8_t* const end = std::find(from, from + most, uint8_t(0));
    return {from, end};
  }

  // Octal digits between blanks, or GNU's binary numbers, whose first bit is set.
  int64_t number(const uint8_t* from, size_t width) const {
    if (from[0] & 0x80) {
      int64_t value = from[0] & 0x40 ? -1 : 0;
      for (size_t i = 0; i < width; ++i) {
        if (__builtin_mul_overflow(value, int64_t(256), &value)) fail("a number is too large");
        value |= i == 0 ? (from[0] & 0x40 ? from[0] : from[0] & 0x3f) : from[i];
      }
      return value;
    }
    int64_t value = 0;
    size_t i = 0;
    while (i < width && from[i] == ' ') ++i;
    for (; i < width && from[i] != 0 && from[i] != ' '; ++i) {
      if (from[i] < '0' || from[i] > '7') fail("a number has a digit that is none");
      value = value * 8 + (from[i] - '0');
    }
    return value;
  }

  void read_extension(const Header& header, Extension& extension) const {
    COSS_CHECK(header.bytes <= kLongestExtension, file_.path() + ": a header of the tar archive is too long");
    std::string bytes(size_t(header.bytes), '\0');
    file_.read(at_, bytes.data(), header.bytes);
    if (header.type == 'L') extension.name = bytes.substr(0, bytes.find('\0'));
    if (header.type == 'x') read_records(bytes, extension);
  }

  // Records like "26 mtime=1483719550.98166\n"; the number is the length of the whole record.
  void read_records(const std::string& records, Extension& extension) const {
    size_t at = 0;
    while (at < records.size() && records[at] != '\0') {
      size_t length = 0;
      const char* const begin = records.data() + at;
      const auto [end, error] = std::from_chars(begin, records.data() + records.size(), length);
      if (error != std::errc() || length > records.size() - at || length < size_t(end - begin) + 2 || *end != ' ') {
        fail("a pax header has a record of a wrong length");
      }
      const std::string record(end + 1, begin + length - 1);
      const size_t sign = record.find('=');
      if (sign == std::string::npos) fail("a pax header has a record without a value");
      const std::string key = record.substr(0, sign), value = record.substr(sign + 1);
      if (key == "path") extension.name = value;
      if (key == "size") {
        int64_t bytes = 0;
        const auto parsed = std::from_chars(value.data(), value.data() + value.size(), bytes);
        if (parsed.ec != std::errc() || parsed.ptr != value.data() + value.size()) fail("a pax size is no number");
        extension.bytes = bytes;
      }
      at += length;
    }
  }

  const FileBytes& file_;
  int64_t at_ = 0;
};

}  // namespace

TarArchive::TarArchive(const FileBytes& file) : members_(Parser(file).parse()) {}

const TarMember* TarArchive::find(const std::string& name) const {
  const auto found = members_.find(name);
  return found == members_.end() ? nullptr : &found->second;
}

bool looks_like_tar(const FileBytes& file) {
  const std::vector<uint8_t> head = file.head(512);
  return head.size() == 512 && std::memcmp(head.data() + 257, "ustar", 5) == 0;
}

}  // namespace coss
