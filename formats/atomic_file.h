// AtomicFile: a file that is written aside and renamed, so that under its name it is complete or not there at all.
#pragma once
#include <cstddef>
#include <cstdio>
#include <string>

namespace coss {

class AtomicFile {
 public:
  // Makes "<path>.tmp-<random>", a name that cannot be guessed, and removes such files of the same path whose writers
  // are gone. Every failure is an Error that names the path and the system's reason.
  explicit AtomicFile(std::string path);
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  // Removes the temporary file when commit() was not reached.
  ~AtomicFile();

  void write(const void* data, size_t bytes);
  void write(const std::string& text) { write(text.data(), text.size()); }
  // Synchronizes with the disk, renames, and synchronizes the folder.
  void commit();

 private:
  void open_temporary();
  [[noreturn]] void fail(const char* action) const;

  std::string path_, temporary_;
  std::FILE* file_ = nullptr;
};

// Whether a file of this name was being written when its process ended: "config.json.tmp-0123456789abcdef".
bool is_unfinished(const std::string& name);

// Writes a small file in one call.
void write_file_atomically(const std::string& path, const std::string& text);

}  // namespace coss
