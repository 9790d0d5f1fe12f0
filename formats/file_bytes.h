// FileBytes: an open file with a known size, read at any position; every failure is an Error that names it.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/check.h"

namespace coss {

// The unsigned number in the first `count` bytes, of 1 to 8, the lowest first.
uint64_t little_endian(const uint8_t* bytes, int count);

class FileBytes {
 public:
  // Error unless `path` is a readable regular file.
  explicit FileBytes(std::string path);
  FileBytes(const FileBytes&) = delete;
  FileBytes& operator=(const FileBytes&) = delete;
  ~FileBytes();

  const std::string& path() const { return path_; }
  int64_t size() const { return size_; }
  // For a library that reads the file itself. Its position is free: read() does not use it.
  int descriptor() const { return descriptor_; }
  // Reads all of [offset, offset + bytes), which must lie inside the file.
  void read(int64_t offset, void* out, int64_t bytes) const;
  // Reads up to `bytes` bytes from the start.
  std::vector<uint8_t> head(int64_t bytes) const;

 private:
  std::string path_;
  int descriptor_ = -1;
  int64_t size_ = 0;
};

// Reads a range of a file from its start to its end with a small buffer, and knows how much is left.
class ByteStream {
 public:
  ByteStream(std::shared_ptr<const FileBytes> file, int64_t begin, int64_t end);
  ByteStream(std::string name, std::vector<uint8_t> bytes);

  const std::string& name() const { return name_; }
  int64_t position() const { return position_; }
  int64_t left() const { return end_ - position_; }
  uint8_t byte();
  void read(void* out, int64_t bytes);
  void skip(int64_t bytes);
  std::string text(int64_t bytes);
  // The text before the next newline; the newline is skipped.
  std::string line(int64_t longest);
  uint64_t little(int bytes);  // unsigned, little-endian, of 1 to 8 bytes

 private:
  void fill();
  void need(int64_t bytes) const;

  std::string name_;
  std::shared_ptr<const FileBytes> file_;
  std::vector<uint8_t> buffer_;
  int64_t buffer_begin_ = 0, position_ = 0, end_ = 0;
};

}  // namespace coss
