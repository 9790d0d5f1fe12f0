// ZipArchive: an open zip file whose entries are found by name and read in parts. Sizes are checked before use.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "formats/file_bytes.h"

struct zip;
struct zip_file;

namespace coss {

struct ZipEntry {
  uint64_t index = 0;
  int64_t bytes = 0;  // uncompressed
  bool stored = false;
};

class ZipArchive {
 public:
  explicit ZipArchive(const std::string& path);
  ZipArchive(const ZipArchive&) = delete;
  ZipArchive& operator=(const ZipArchive&) = delete;
  ~ZipArchive();

  const std::string& path() const { return path_; }
  int64_t entries() const;
  // "" when an entry has no readable name.
  std::string name(int64_t index) const;
  // False when there is no such entry; Error when its facts are impossible.
  bool find(const std::string& name, ZipEntry& entry) const;
  ZipEntry entry(int64_t index) const;
  // A read that reaches the entry's end without a jump over more than a header also compares the checksum.
  void read(const ZipEntry& entry, int64_t offset, uint8_t* out, int64_t bytes) const;

 private:
  std::string path_;
  zip* zip_;
};

bool looks_like_zip(const FileBytes& file);

}  // namespace coss
