// Writes a temporary file, synchronizes it with the disk and renames it.
#include "formats/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "engine/check.h"

namespace coss {

AtomicFile::AtomicFile(std::string path)
    : path_(std::move(path)), temporary_(path_ + ".tmp-" + std::to_string(::getpid())) {
  file_ = std::fopen(temporary_.c_str(), "wbe");
  if (!file_) fail("open");
}

AtomicFile::~AtomicFile() {
  if (!file_) return;
  std::fclose(file_);
  ::unlink(temporary_.c_str());
}

void AtomicFile::fail(const char* action) const {
  throw Error(std::string("cannot ") + action + " " + path_ + ": " + std::strerror(errno));
}

void AtomicFile::write(const void* data, size_t bytes) {
  if (bytes > 0 && std::fwrite(data, 1, bytes, file_) != bytes) fail("write");
}

void AtomicFile::commit() {
  if (std::fflush(file_) != 0 || ::fsync(::fileno(file_)) != 0) fail("write");
  // The rename comes before the close, so that the destructor still cleans up correctly when closing fails.
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail("rename to");
  const bool closed = std::fclose(file_) == 0;
  file_ = nullptr;
  if (!closed) fail("close");
  const std::string parent = std::filesystem::path(path_).parent_path().string();
  const int folder = ::open(parent.empty() ? "." : parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return;  // a folder that cannot be opened cannot be synchronized; the file itself is safe
  ::fsync(folder);
  ::close(folder);
}

void write_file_atomically(const std::string& path, const std::string& text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

}  // namespace coss
