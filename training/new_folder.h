// NewFolder: a folder that appears under its name whole or not at all. It is made beside its place as ".NAME.start-…"
// and renamed into place. Unless keep() is called, it is removed again, with the parents that were made for it.
#pragma once
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace coss {

// A lock on a file, held until the object or the process ends.
class FileLock {
 public:
  FileLock() = default;
  // Holds nothing if another process holds the lock, or if there is no such file and `make` is not set.
  FileLock(const std::filesystem::path& path, bool make);
  FileLock(FileLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  FileLock& operator=(FileLock&& other) noexcept;
  ~FileLock();

  bool held() const { return descriptor_ >= 0; }

 private:
  int descriptor_ = -1;
};

class NewFolder {
 public:
  // Makes the folder aside with the locked file `lock` in it. An empty folder may be in its place; anything else there
  // is an Error. Removes folders aside of the same name that ended processes have left.
  NewFolder(const std::string& path, const std::string& lock);
  NewFolder(const NewFolder&) = delete;
  NewFolder& operator=(const NewFolder&) = delete;
  ~NewFolder();

  const std::filesystem::path& aside() const { return aside_; }
  // Writes everything to the disk and renames the folder into place. Throws Error if another process was faster.
  void appear();
  void keep() { kept_ = true; }
  bool kept() const { return kept_; }

 private:
  void look_at_place();
  void make_aside();
  void remove();

  std::string path_, lock_name_;
  std::filesystem::path place_, aside_;         // absolute, without links
  std::vector<std::filesystem::path> parents_;  // those that were made for it
  std::filesystem::perms permissions_{};        // of the empty folder that was in its place
  bool replaces_ = false, appeared_ = false, kept_ = false;
  FileLock lock_;
};

// Forces a file or a folder to the disk.
void synchronize(const std::filesystem::path& path);

}  // namespace coss
