// Writes a temporary file, synchronizes it with the disk and renames it. A writer holds a lock on its temporary file; a
// file without a lock is left from a killed writer.
#include "formats/atomic_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <vector>

#include "engine/check.h"

namespace coss {

namespace {

namespace fs = std::filesystem;

constexpr char kMark[] = ".tmp-";
constexpr size_t kDigits = 16;

std::string folder_of(const std::string& path) {
  const std::string folder = fs::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

std::string random_digits() {
  uint64_t bits = 0;
  if (::getrandom(&bits, sizeof(bits), 0) != ssize_t(sizeof(bits))) throw Error("the system gives no random numbers");
  std::string text(kDigits, '0');
  for (char& digit : text) {
    digit = "0123456789abcdef"[bits & 15];
    bits >>= 4;
  }
  return text;
}

// Removes the temporary files of killed writers.
void remove_leftovers(const std::string& path) {
  const std::string stem = fs::path(path).filename().string() + kMark;
  std::vector<fs::path> found;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder_of(path), ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(stem) && is_unfinished(name)) found.push_back(entry.path());
  }
  for (const fs::path& file : found) {
    const int descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (descriptor < 0) continue;
    struct stat status = {};
    const bool dead =
        ::fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode) && ::flock(descriptor, LOCK_EX | LOCK_NB) == 0;
    if (dead) ::unlink(file.c_str());
    ::close(descriptor);
  }
}

}  // namespace

bool is_unfinished(const std::string& name) {
  const size_t at = name.rfind(kMark);
  if (at == std::string::npos || name.size() != at + sizeof(kMark) - 1 + kDigits) return false;
  return name.find_first_not_of("0123456789abcdef", at + sizeof(kMark) - 1) == std::string::npos;
}

AtomicFile::AtomicFile(std::string path) : path_(std::move(path)) {
  remove_leftovers(path_);
  while (!file_) open_temporary();
}

// Leaves file_ empty when another process removed the temporary file before it was locked.
void AtomicFile::open_temporary() {
  temporary_ = path_ + kMark + random_digits();
  const int descriptor = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
  if (descriptor < 0) fail("open");
  ::flock(descriptor, LOCK_EX);  // without locks in the file system, files of killed writers stay
  struct stat status = {};
  if (::fstat(descriptor, &status) == 0 && status.st_nlink > 0) file_ = ::fdopen(descriptor, "wb");
  if (!file_) ::close(descriptor);
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
  const int folder = ::open(folder_of(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
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
