// A folder aside whose lock nobody holds was left by a process that has ended. A new folder has no held lock for a
// moment, so another process may remove it; then the next name is tried.
#include "training/new_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "engine/check.h"
#include "formats/outputs.h"

namespace coss {

namespace fs = std::filesystem;

namespace {

// Removes a folder. The lock is removed last, so that another process can still recognize a half-removed folder.
void remove_folder(const fs::path& folder, const std::string& lock) {
  std::error_code ignored;
  std::vector<fs::path> entries;
  for (const auto& entry : fs::directory_iterator(folder, ignored))
    if (entry.path().filename() != lock) entries.push_back(entry.path());
  for (const fs::path& entry : entries) fs::remove_all(entry, ignored);
  fs::remove(folder / lock, ignored);
  rmdir(folder.c_str());
}

void remove_dead(const fs::path& parent, const std::string& stem, const std::string& lock) {
  std::error_code ignored;
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(parent, ignored))
    if (entry.path().filename().string().starts_with(stem) && fs::is_directory(entry.symlink_status(ignored)))
      found.push_back(entry.path());
  for (const fs::path& folder : found) {
    if (const FileLock dead(folder / lock, /*make=*/false); dead.held())
      remove_folder(folder, lock);
    else
      rmdir(folder.c_str());  // only if it is empty: its process ended before it made the lock
  }
}

}  // namespace

void synchronize(const fs::path& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  COSS_CHECK(descriptor >= 0, fmt::format("cannot open {}: {}", path.string(), std::strerror(errno)));
  const int failed = fsync(descriptor);
  const int reason = errno;
  close(descriptor);
  // Some file systems cannot synchronize a folder and say EINVAL.
  COSS_CHECK(!failed || reason == EINVAL, fmt::format("cannot write {}: {}", path.string(), std::strerror(reason)));
}

FileLock::FileLock(const fs::path& path, bool make) {
  // Some network file systems lock only files that are open for writing.
  descriptor_ = open(path.c_str(), O_RDWR | O_CLOEXEC | (make ? O_CREAT : 0), 0666);
  if (descriptor_ < 0) {
    COSS_CHECK(errno == ENOENT || !make, fmt::format("cannot write {}: {}", path.string(), std::strerror(errno)));
    return;
  }
  const bool locked = flock(descriptor_, LOCK_EX | LOCK_NB) == 0;
  const int reason = errno;
  struct stat status = {};
  // The file may have been removed in the meantime: then nothing is held.
  if (locked && fstat(descriptor_, &status) == 0 && status.st_nlink > 0) return;
  close(std::exchange(descriptor_, -1));
  COSS_CHECK(locked || reason == EWOULDBLOCK, fmt::format("cannot lock {}: {}", path.string(), std::strerror(reason)));
}

FileLock& FileLock::operator=(FileLock&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

FileLock::~FileLock() {
  if (held()) close(descriptor_);
}

NewFolder::NewFolder(const std::string& path, const std::string& lock) : path_(path), lock_name_(lock) {
  look_at_place();
  try {
    make_aside();
  } catch (...) {
    remove();
    throw;
  }
}

NewFolder::~NewFolder() {
  if (!kept_) remove();
}

void NewFolder::look_at_place() {
  std::error_code failed;
  place_ = fs::weakly_canonical(fs::absolute(path_), failed);
  COSS_CHECK(!failed, fmt::format("cannot make {}: {}", path_, failed.message()));
  if (!place_.has_filename()) place_ = place_.parent_path();  // "runs/a/"
  if (!fs::exists(place_, failed)) return;
  const bool empty = fs::is_directory(place_, failed) && fs::is_empty(place_, failed);
  COSS_CHECK(empty && !failed, fmt::format("{} exists and is no empty folder: choose another --out", path_));
  COSS_CHECK(!fs::equivalent(place_, fs::current_path(failed), failed),
             fmt::format("{} is the current folder, which cannot be replaced: name a new folder", path_));
  permissions_ = fs::status(place_, failed).permissions();
  replaces_ = true;
}

void NewFolder::make_aside() {
  const std::string stem = fmt::format(".{}.start-", place_.filename().string());
  for (int attempt = 0; !lock_.held(); ++attempt) {
    COSS_CHECK(attempt < 100, fmt::format("cannot make {}: no folder can be made and locked beside it", path_));
    const std::vector<fs::path> parents = make_folders(place_.parent_path());
    parents_.insert(parents_.end(), parents.begin(), parents.end());
    if (attempt == 0) remove_dead(place_.parent_path(), stem, lock_name_);
    aside_ = place_.parent_path() / fmt::format("{}{}-{}", stem, getpid(), attempt);
    std::error_code failed;
    if (fs::create_directory(aside_, failed)) lock_ = FileLock(aside_ / lock_name_, /*make=*/true);
    // A start of another process may have failed and removed the parents that it had made.
    COSS_CHECK(!failed || failed == std::errc::no_such_file_or_directory,
               fmt::format("cannot make {} in {}: {}", path_, place_.parent_path().string(), failed.message()));
  }
}

void NewFolder::appear() {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(aside_)) synchronize(entry.path());
  synchronize(aside_);
  if (replaces_) fs::permissions(aside_, permissions_, ignored);
  if (std::rename(aside_.c_str(), place_.c_str()) != 0) {
    const int reason = errno;
    COSS_CHECK(reason != ENOTEMPTY && reason != EEXIST,
               path_ + " was made by another process just now: choose another --out, or continue it with --resume");
    COSS_CHECK(reason != EBUSY && reason != EXDEV,
               path_ + " is the root of a file system, which cannot be replaced: choose a folder in it");
    throw Error(fmt::format("cannot make {}: {}", path_, std::strerror(reason)));
  }
  appeared_ = true;
  synchronize(place_.parent_path());
}

void NewFolder::remove() {
  std::error_code ignored;
  // It goes back to its hidden name first: under its own name it is always whole.
  const bool hidden = !appeared_ || std::rename(place_.c_str(), aside_.c_str()) == 0;
  if (lock_.held())
    remove_folder(hidden ? aside_ : place_, lock_name_);
  else
    rmdir(aside_.c_str());
  if (appeared_ && replaces_ && fs::create_directory(place_, ignored)) fs::permissions(place_, permissions_, ignored);
  remove_empty_folders(parents_);
}

}  // namespace coss
