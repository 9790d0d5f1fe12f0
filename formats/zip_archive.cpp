// Entries through libzip.
#include "formats/zip_archive.h"

#include <zip.h>

#include <algorithm>
#include <cstring>

namespace coss {
namespace {

constexpr uint64_t kBestDeflation = 1040;  // no deflated entry is larger than this many times its bytes
constexpr int64_t kShortSkip = 64 << 10;   // read over rather than jumped over

bool fill(zip_file_t* file, uint8_t* out, int64_t bytes) {
  while (bytes > 0) {
    const zip_int64_t got = zip_fread(file, out, zip_uint64_t(bytes));
    if (got <= 0) return false;
    out += got;
    bytes -= got;
  }
  return true;
}

bool read_over(zip_file_t* file, int64_t bytes) {
  uint8_t waste[4096];
  for (; bytes > 0; bytes -= std::min<int64_t>(bytes, sizeof(waste))) {
    if (!fill(file, waste, std::min<int64_t>(bytes, sizeof(waste)))) return false;
  }
  return true;
}

}  // namespace

ZipArchive::ZipArchive(const std::string& path) : path_(path) {
  int code = 0;
  zip_ = zip_open(path.c_str(), ZIP_RDONLY, &code);
  if (!zip_) {
    zip_error_t error;
    zip_error_init_with_code(&error, code);
    const std::string reason = zip_error_strerror(&error);
    zip_error_fini(&error);
    throw Error(path + " is a truncated or corrupt zip archive (" + reason + ")");
  }
}

ZipArchive::~ZipArchive() { zip_discard(zip_); }

int64_t ZipArchive::entries() const { return zip_get_num_entries(zip_, 0); }

std::string ZipArchive::name(int64_t index) const {
  const char* text = zip_get_name(zip_, zip_uint64_t(index), 0);
  return text ? text : "";
}

bool ZipArchive::find(const std::string& name, ZipEntry& found) const {
  const zip_int64_t index = zip_name_locate(zip_, name.c_str(), 0);
  if (index < 0) return false;
  found = entry(index);
  return true;
}

ZipEntry ZipArchive::entry(int64_t index) const {
  zip_stat_t facts;
  COSS_CHECK(zip_stat_index(zip_, zip_uint64_t(index), 0, &facts) == 0 && (facts.valid & ZIP_STAT_SIZE) &&
                 (facts.valid & ZIP_STAT_COMP_SIZE) && (facts.valid & ZIP_STAT_COMP_METHOD),
             path_ + ": the facts of entry '" + name(index) + "' are missing");
  COSS_CHECK(facts.size <= uint64_t(INT64_MAX) && facts.size / kBestDeflation <= facts.comp_size,
             path_ + ": entry '" + name(index) + "' has an impossible size");
  return {uint64_t(index), int64_t(facts.size), facts.comp_method == ZIP_CM_STORE};
}

void ZipArchive::read(const ZipEntry& entry, int64_t offset, uint8_t* out, int64_t bytes) const {
  COSS_CHECK(offset >= 0 && bytes >= 0 && offset <= entry.bytes && bytes <= entry.bytes - offset,
             path_ + ": read outside an entry of the archive");
  zip_file_t* file = zip_fopen_index(zip_, entry.index, 0);
  COSS_CHECK(file != nullptr, path_ + " is corrupt (" + zip_strerror(zip_) + ")");
  // Stored entries can jump, which gives up the checksum.
  const bool jumps = entry.stored && offset > kShortSkip;
  const bool there = jumps ? zip_fseek(file, offset, SEEK_SET) == 0 : read_over(file, offset);
  const bool ok = there && fill(file, out, bytes);
  // Reading on to the end lets the library compare the checksum.
  uint8_t end = 0;
  const bool whole = !jumps && offset + bytes == entry.bytes;
  const bool sound = ok && (!whole || zip_fread(file, &end, 1) == 0);
  const std::string reason = sound ? "" : zip_file_strerror(file);
  zip_fclose(file);
  COSS_CHECK(sound, path_ + " is truncated or corrupt: entry '" + name(int64_t(entry.index)) + "' (" + reason + ")");
}

bool looks_like_zip(const FileBytes& file) {
  const std::vector<uint8_t> head = file.head(4);
  return head.size() == 4 && std::memcmp(head.data(), "PK\3\4", 4) == 0;
}

}  // namespace coss
