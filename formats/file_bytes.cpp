// Positioned reads with checked bounds.
#include "formats/file_bytes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace coss {
namespace {

constexpr int64_t kWindow = 64 << 10;

}  // namespace

uint64_t little_endian(const uint8_t* bytes, int count) {
  uint64_t value = 0;
  for (int i = count; i-- > 0;) value = value << 8 | bytes[i];
  return value;
}

FileBytes::FileBytes(std::string path) : path_(std::move(path)) {
  // Without O_NONBLOCK a named pipe would wait for a writer that never comes.
  descriptor_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  COSS_CHECK(descriptor_ >= 0, "cannot open " + path_ + ": " + std::strerror(errno));
  struct stat facts {};
  const bool known = ::fstat(descriptor_, &facts) == 0;
  if (!known || !S_ISREG(facts.st_mode)) {
    const std::string reason = known ? "it is not a regular file" : std::strerror(errno);
    ::close(descriptor_);
    throw Error("cannot read " + path_ + ": " + reason);
  }
  size_ = facts.st_size;
}

FileBytes::~FileBytes() { ::close(descriptor_); }

void FileBytes::read(int64_t offset, void* out, int64_t bytes) const {
  COSS_CHECK(offset >= 0 && bytes >= 0 && offset <= size_ && bytes <= size_ - offset,
             path_ + " ends too early: " + std::to_string(bytes) + " bytes requested at " + std::to_string(offset) +
                 " of " + std::to_string(size_));
  auto* to = static_cast<uint8_t*>(out);
  while (bytes > 0) {
    const ssize_t got = ::pread(descriptor_, to, size_t(bytes), offset);
    if (got < 0 && errno == EINTR) continue;
    COSS_CHECK(got >= 0, "cannot read " + path_ + ": " + std::strerror(errno));
    COSS_CHECK(got > 0, path_ + " became shorter while it was read");
    to += got;
    offset += got;
    bytes -= got;
  }
}

std::vector<uint8_t> FileBytes::head(int64_t bytes) const {
  std::vector<uint8_t> out(size_t(std::min(bytes, size_)));
  read(0, out.data(), int64_t(out.size()));
  return out;
}

ByteStream::ByteStream(std::shared_ptr<const FileBytes> file, int64_t begin, int64_t end)
    : name_(file->path()), file_(std::move(file)), buffer_begin_(begin), position_(begin), end_(end) {
  COSS_CHECK(begin >= 0 && begin <= end && end <= file_->size(), name_ + " ends too early");
}

ByteStream::ByteStream(std::string name, std::vector<uint8_t> bytes)
    : name_(std::move(name)), buffer_(std::move(bytes)), end_(int64_t(buffer_.size())) {}

void ByteStream::need(int64_t bytes) const {
  COSS_CHECK(bytes >= 0 && bytes <= left(), name_ + " is truncated or corrupt: " + std::to_string(bytes) +
                                                " bytes requested where " + std::to_string(left()) + " are left");
}

void ByteStream::fill() {
  buffer_.resize(size_t(std::min(kWindow, left())));
  file_->read(position_, buffer_.data(), int64_t(buffer_.size()));
  buffer_begin_ = position_;
}

uint8_t ByteStream::byte() {
  need(1);
  if (position_ - buffer_begin_ >= int64_t(buffer_.size())) fill();
  return buffer_[size_t(position_++ - buffer_begin_)];
}

void ByteStream::read(void* out, int64_t bytes) {
  need(bytes);
  auto* to = static_cast<uint8_t*>(out);
  const int64_t buffered = std::min(bytes, buffer_begin_ + int64_t(buffer_.size()) - position_);
  if (buffered > 0) {
    std::memcpy(to, buffer_.data() + (position_ - buffer_begin_), size_t(buffered));
    to += buffered;
    position_ += buffered;
    bytes -= buffered;
  }
  if (bytes > 0) {
    file_->read(position_, to, bytes);
    position_ += bytes;
  }
}

void ByteStream::skip(int64_t bytes) {
  need(bytes);
  position_ += bytes;
}

std::string ByteStream::text(int64_t bytes) {
  need(bytes);
  std::string out(size_t(bytes), '\0');
  read(out.data(), bytes);
  return out;
}

std::string ByteStream::line(int64_t longest) {
  std::string out;
  for (char c = char(byte()); c != '\n'; c = char(byte())) {
    COSS_CHECK(int64_t(out.size()) < longest, name_ + " is corrupt: a line is longer than " + std::to_string(longest));
    out += c;
  }
  return out;
}

uint64_t ByteStream::little(int bytes) {
  uint64_t value = 0;
  for (int i = 0; i < bytes; ++i) value |= uint64_t(byte()) << (8 * i);
  return value;
}

}  // namespace coss
