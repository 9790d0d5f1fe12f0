// ZipArchive: an open zip file whose entries are found by name and read in parts. Sizes are checked before use.
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "formats/file_bytes.h"

struct zip;
struct zip_file;

namespace coss {

struct ZipEntry {
  uint64_t index = 0;
  int64_t bytes = 0;       // uncompressed
  int64_t compressed = 0;  // size in the file
  bool stored = false;
  int64_t begin = -1;  // position of a stored entry's bytes in the file; -1: only the library finds them
  uint32_t checksum = 0;
};

class ZipArchive {
 public:
  // Error that names the file when it is no whole zip archive. The file is not opened again.
  explicit ZipArchive(std::shared_ptr<const FileBytes> file);
  ZipArchive(const ZipArchive&) = delete;
  ZipArchive& operator=(const ZipArchive&) = delete;
  ~ZipArchive();

  const std::string& path() const { return file_->path(); }
  int64_t entries() const;
  // "" when an entry has no readable name.
  std::string name(int64_t index) const;
  // Returns false when there is no such entry. Error when its sizes are impossible.
  bool find(const std::string& name, ZipEntry& entry) const;
  ZipEntry entry(int64_t index) const;
  // Reading a whole entry, or all but its header, also compares the checksum. Several threads may read.
  void read(const ZipEntry& entry, int64_t offset, uint8_t* out, int64_t bytes) const;

 private:
  std::vector<int64_t> find_headers() const;
  void read_by_library(const ZipEntry& entry, int64_t offset, uint8_t* out, int64_t bytes) const;

  std::shared_ptr<const FileBytes> file_;
  zip* zip_;
  std::vector<int64_t> headers_;  // position of each entry's header; empty when the directory is unusual
  mutable std::mutex mutex_;      // for calls of libzip
};

bool looks_like_zip(const FileBytes& file);

}  // namespace coss
