// Entries through libzip. libzip has one position for all reads and a slow checksum, so stored entries, of which
// checkpoints consist, are read from the file itself.
#include "formats/zip_archive.h"

#include <fcntl.h>
#include <unistd.h>
#include <zip.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "formats/crc32.h"

namespace coss {
namespace {

constexpr uint64_t kBestDeflation = 1040;  // a deflated entry is at most this many times larger than its bytes
constexpr int64_t kShortSkip = 64 << 10;   // shorter gaps are read rather than skipped

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

ZipArchive::ZipArchive(std::shared_ptr<const FileBytes> file) : file_(std::move(file)) {
  // The library closes the descriptor that it is given.
  const int descriptor = ::fcntl(file_->descriptor(), F_DUPFD_CLOEXEC, 0);
  COSS_CHECK(descriptor >= 0, "cannot read " + path() + ": " + std::strerror(errno));
  int code = 0;
  zip_ = zip_fdopen(descriptor, 0, &code);
  if (!zip_) {
    ::close(descriptor);
    zip_error_t error;
    zip_error_init_with_code(&error, code);
    const std::string reason = zip_error_strerror(&error);
    zip_error_fini(&error);
    throw Error(path() + " is a truncated or corrupt zip archive (" + reason + ")");
  }
  headers_ = find_headers();
}

ZipArchive::~ZipArchive() { zip_discard(zip_); }

// libzip has checked the directory but does not tell the positions of the entries. Unusual archives (more than 4 GiB, a
// comment, bytes in front) are left to it.
std::vector<int64_t> ZipArchive::find_headers() const {
  constexpr int64_t kEndBytes = 22, kRecordBytes = 46;
  constexpr uint64_t kEndMark = 0x06054b50, kRecordMark = 0x02014b50;
  if (file_->size() < kEndBytes || file_->size() > INT32_MAX) return {};
  uint8_t end[kEndBytes];
  file_->read(file_->size() - kEndBytes, end, kEndBytes);
  const int64_t count = int64_t(little_endian(end + 10, 2)), bytes = int64_t(little_endian(end + 12, 4));
  const int64_t begin = int64_t(little_endian(end + 16, 4));
  if (little_endian(end, 4) != kEndMark || count != entries() || begin + bytes > file_->size() - kEndBytes) return {};
  std::vector<uint8_t> directory(static_cast<size_t>(bytes));
  file_->read(begin, directory.data(), bytes);
  std::vector<int64_t> headers;
  for (int64_t at = 0; int64_t(headers.size()) < count;) {
    const uint8_t* record = directory.data() + at;
    if (bytes - at < kRecordBytes || little_endian(record, 4) != kRecordMark) return {};
    headers.push_back(int64_t(little_endian(record + 42, 4)));
    at += kRecordBytes +
          int64_t(little_endian(record + 28, 2) + little_endian(record + 30, 2) + little_endian(record + 32, 2));
  }
  return headers;
}

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
             path() + ": the facts of entry '" + name(index) + "' are missing");
  COSS_CHECK(facts.size <= uint64_t(INT64_MAX) && facts.size / kBestDeflation <= facts.comp_size,
             path() + ": entry '" + name(index) + "' has an impossible size");
  ZipEntry found{uint64_t(index), int64_t(facts.size), int64_t(facts.comp_size), facts.comp_method == ZIP_CM_STORE};
  if (!found.stored || headers_.empty() || !(facts.valid & ZIP_STAT_CRC) || facts.encryption_method != ZIP_EM_NONE)
    return found;
  constexpr int64_t kHeaderBytes = 30;
  constexpr uint64_t kHeaderMark = 0x04034b50;
  const int64_t at = headers_[size_t(index)];
  if (at > file_->size() - kHeaderBytes) return found;
  uint8_t header[kHeaderBytes];
  file_->read(at, header, kHeaderBytes);
  const int64_t begin = at + kHeaderBytes + int64_t(little_endian(header + 26, 2) + little_endian(header + 28, 2));
  if (little_endian(header, 4) != kHeaderMark || begin > file_->size() || found.bytes > file_->size() - begin)
    return found;
  found.begin = begin;
  found.checksum = facts.crc;
  return found;
}

void ZipArchive::read(const ZipEntry& entry, int64_t offset, uint8_t* out, int64_t bytes) const {
  COSS_CHECK(offset >= 0 && bytes >= 0 && offset <= entry.bytes && bytes <= entry.bytes - offset,
             path() + ": read outside an entry of the archive");
  const bool checked = offset <= kShortSkip && offset + bytes == entry.bytes;
  if (entry.begin < 0) return read_by_library(entry, offset, out, bytes);
  uint32_t sum = 0;
  if (checked && offset > 0) {
    std::vector<uint8_t> header(static_cast<size_t>(offset));
    file_->read(entry.begin, header.data(), offset);
    sum = crc32_of(header.data(), header.size());
  }
  constexpr int64_t kPiece = 128 << 10;  // still in the cache when its checksum is computed
  for (int64_t at = 0; at < bytes; at += kPiece) {
    const int64_t piece = std::min(kPiece, bytes - at);
    file_->read(entry.begin + offset + at, out + at, piece);
    if (checked) sum = crc32_of(out + at, size_t(piece), sum);
  }
  COSS_CHECK(!checked || sum == entry.checksum,
             path() + " is truncated or corrupt: entry '" + name(int64_t(entry.index)) + "' (its checksum is another)");
}

void ZipArchive::read_by_library(const ZipEntry& entry, int64_t offset, uint8_t* out, int64_t bytes) const {
  const std::lock_guard lock(mutex_);
  zip_file_t* file = zip_fopen_index(zip_, entry.index, 0);
  COSS_CHECK(file != nullptr, path() + " is corrupt (" + zip_strerror(zip_) + ")");
  // In a stored entry a read can skip bytes; the checksum is then not compared.
  const bool jumps = entry.stored && offset > kShortSkip;
  const bool there = jumps ? zip_fseek(file, offset, SEEK_SET) == 0 : read_over(file, offset);
  const bool ok = there && fill(file, out, bytes);
  // Reading to the end makes the library compare the checksum.
  uint8_t end = 0;
  const bool whole = !jumps && offset + bytes == entry.bytes;
  const bool sound = ok && (!whole || zip_fread(file, &end, 1) == 0);
  const std::string reason = sound ? "" : zip_file_strerror(file);
  zip_fclose(file);
  COSS_CHECK(sound, path() + " is truncated or corrupt: entry '" + name(int64_t(entry.index)) + "' (" + reason + ")");
}

bool looks_like_zip(const FileBytes& file) {
  const std::vector<uint8_t> head = file.head(4);
  return head.size() == 4 && std::memcmp(head.data(), "PK\3\4", 4) == 0;
}

}  // namespace coss
