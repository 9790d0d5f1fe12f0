// The files of a run. A checkpoint is written as ".tmp_step_…", forced to the disk, marked and renamed, in this order.
// So, whatever interrupts it, a folder named step_… with the mark holds everything.
#include "training/run_folder.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <system_error>

#include "engine/text.h"
#include "evaluation/neighbors.h"
#include "formats/atomic_file.h"
#include "formats/event_file.h"
#include "training/new_folder.h"
#include "training/recipe.h"

namespace coss {

namespace fs = std::filesystem;

namespace {

constexpr const char* kMark = "complete";
constexpr const char* kTemporary = ".tmp_step_";
constexpr const char *kConfig = "config.json", *kLog = "log.txt", *kMetrics = "metrics.jsonl",
                     *kCheckpoints = "checkpoints", *kEvents = "events.out.tfevents.";

// Runs a file operation and turns the library's exception into an Error.
template <class Operation>
auto checked(const std::string& what, const Operation& operation) {
  try {
    return operation();
  } catch (const fs::filesystem_error& error) {
    throw Error(fmt::format("cannot {}: {}", what, error.code().message()));
  }
}

std::string checkpoint_name(int64_t step) { return fmt::format("step_{:08}", step); }

std::optional<int64_t> step_of(const std::string& name) {
  if (!name.starts_with("step_") || name.size() < 6 || name.size() > 20) return std::nullopt;
  if (!std::all_of(name.begin() + 5, name.end(), [](unsigned char c) { return c >= '0' && c <= '9'; }))
    return std::nullopt;
  return std::stoll(name.substr(5));
}

// A text file that only grows; each line is handed to the system at once.
class LineFile {
 public:
  explicit LineFile(std::string path) : path_(std::move(path)), file_(std::fopen(path_.c_str(), "ae")) {
    COSS_CHECK(file_, fmt::format("cannot write {}: {}", path_, std::strerror(errno)));
  }
  LineFile(const LineFile&) = delete;
  LineFile& operator=(const LineFile&) = delete;
  ~LineFile() { std::fclose(file_); }

  // One call of the system a line, so that lines of several threads do not mix.
  void write(std::string line) {
    line = printable(line) + '\n';
    const bool written = std::fwrite(line.data(), 1, line.size(), file_) == line.size() && std::fflush(file_) == 0;
    COSS_CHECK(written, fmt::format("cannot write {}: {}", path_, std::strerror(errno)));
  }

  // Whether the file is still the one of its path.
  bool is_in_place() const {
    struct stat own = {}, there = {};
    return fstat(fileno(file_), &own) == 0 && stat(path_.c_str(), &there) == 0 && own.st_dev == there.st_dev &&
           own.st_ino == there.st_ino;
  }
  // Where it is now; empty when it was removed.
  std::string place() const {
    struct stat own = {};
    std::error_code ignored;
    if (fstat(fileno(file_), &own) != 0 || own.st_nlink == 0) return "";
    return fs::read_symlink(fmt::format("/proc/self/fd/{}", fileno(file_)), ignored).string();
  }

 private:
  std::string path_;
  std::FILE* file_;
};

// Oldest first.
std::vector<RunCheckpoint> complete_checkpoints(const std::string& path) {
  std::vector<RunCheckpoint> found;
  for (const auto& entry : fs::directory_iterator(path + "/" + kCheckpoints))
    if (const auto step = step_of(entry.path().filename()); step && fs::exists(entry.path() / kMark))
      found.push_back({*step, entry.path().string()});
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.step < b.step; });
  return found;
}

// True for files that a killed process left: one that was being written, or features that were to be mined.
bool is_remains(const std::string& name) { return is_unfinished(name) || name == passing_features("neighbors.npy"); }

// Empties a folder that has no recipe and holds only what a start makes before its first step.
void clear_dead_start(const std::string& path) {
  std::error_code ignored;
  if (!fs::is_directory(path + "/" + kCheckpoints, ignored) || !fs::is_empty(path + "/" + kCheckpoints, ignored))
    return;
  std::vector<fs::path> parts;
  for (const auto& entry : fs::directory_iterator(path)) {
    const std::string name = entry.path().filename();
    const bool empty_metrics = name == kMetrics && fs::is_empty(entry.path());
    if (name != kCheckpoints && name != kLog && !empty_metrics && !name.starts_with(kEvents) && !is_remains(name))
      return;
    parts.push_back(entry.path());
  }
  const FileLock dead(path + "/" + kLog, /*make=*/true);
  COSS_CHECK(dead.held() && !fs::exists(path + "/" + kConfig), fmt::format("{} is in use by another process", path));
  for (const fs::path& part : parts) fs::remove(part);
  fs::remove(path + "/" + kLog);
}

}  // namespace

struct RunFolder::Files {
  // Two processes on one run would damage each other's files, so log.txt is locked: by `made` in a new folder, by
  // `lock` in one that is continued.
  std::unique_ptr<NewFolder> made;
  FileLock lock;
  std::unique_ptr<LineFile> log, metrics;
  std::unique_ptr<EventFile> events;
};

RunFolder::RunFolder(RunFolder&&) noexcept = default;
RunFolder& RunFolder::operator=(RunFolder&&) noexcept = default;
RunFolder::~RunFolder() = default;

RunFolder::RunFolder(const std::string& path, std::unique_ptr<Files> files) : path_(path), files_(std::move(files)) {
  files_->log = std::make_unique<LineFile>(path + "/" + kLog);
  files_->metrics = std::make_unique<LineFile>(path + "/" + kMetrics);
  files_->events = std::make_unique<EventFile>(path);
}

bool RunFolder::holds_run(const std::string& path) {
  std::error_code ignored;
  return fs::exists(path + "/" + kConfig, ignored);
}

void RunFolder::keep() {
  if (files_->made) files_->made->keep();
}

bool RunFolder::is_kept() const { return !files_->made || files_->made->kept(); }

RunFolder RunFolder::create(const std::string& path, const Config& config) {
  COSS_CHECK(!holds_run(path),
             fmt::format("{} holds a run already: continue it with --resume, or choose another --out", path));
  checked("clear " + path, [&] { clear_dead_start(path); });
  auto files = std::make_unique<Files>();
  files->made = std::make_unique<NewFolder>(path, kLog);
  const std::string aside = files->made->aside().string();
  checked("make " + path, [&] { fs::create_directory(aside + "/" + kCheckpoints); });
  write_file_atomically(aside + "/" + kMetrics, "");
  write_file_atomically(aside + "/" + kConfig, to_json(config));
  files->made->appear();
  return RunFolder(path, std::move(files));
}

RunFolder RunFolder::resume(const std::string& path, const Config& config) {
  COSS_CHECK(holds_run(path), fmt::format("{} holds no run to resume: start one without --resume", path));
  const std::vector<std::string> changed = differences(load_config(path + "/" + kConfig, {}), config);
  COSS_CHECK(changed.empty(), fmt::format("{} cannot be resumed with a different recipe; changed:\n  {}", path,
                                          fmt::join(changed, "\n  ")));
  auto files = std::make_unique<Files>();
  files->lock = FileLock(path + "/" + kLog, /*make=*/true);
  COSS_CHECK(files->lock.held(), fmt::format("{} is in use by another process", path));
  checked("continue " + path, [&] {
    fs::create_directory(path + "/" + kCheckpoints);
    const bool anew = complete_checkpoints(path).empty();
    std::vector<fs::path> useless;
    for (const auto& entry : fs::directory_iterator(path)) {
      const std::string name = entry.path().filename();
      if (!entry.is_regular_file()) continue;
      if (is_remains(name) || (anew && (name == kMetrics || name.starts_with(kEvents))))
        useless.push_back(entry.path());
    }
    for (const fs::path& file : useless) fs::remove(file);
  });
  return RunFolder(path, std::move(files));
}

void RunFolder::log(const std::string& line) {
  files_->log->write(fmt::format("{:%Y-%m-%d %H:%M:%S} {}", fmt::localtime(std::time(nullptr)), line));
}

void RunFolder::metrics(int64_t step, const std::vector<std::pair<std::string, double>>& values) {
  std::string line = fmt::format("{{\"step\": {}", step);
  for (const auto& [name, value] : values) {
    line +=
        fmt::format(", {}: {}", nlohmann::json(name).dump(), std::isfinite(value) ? fmt::format("{}", value) : "null");
    files_->events->scalar(name, step, value);
  }
  files_->metrics->write(line + "}");
  files_->events->flush();
}

void RunFolder::truncate_metrics(int64_t step) {
  const std::string file = path_ + "/" + kMetrics;
  std::string kept, line;
  std::ifstream stream(file);
  while (std::getline(stream, line)) {
    const auto json = nlohmann::json::parse(line, nullptr, false);  // the last line may be torn
    if (json.is_object() && json.contains("step") && json["step"].is_number_integer() && json["step"] <= step)
      kept += line + "\n";
  }
  write_file_atomically(file, kept);
  files_->metrics = std::make_unique<LineFile>(file);
  checked("cut the event files of " + path_, [&] {
    std::vector<std::string> events;
    for (const auto& entry : fs::directory_iterator(path_))
      if (entry.path().filename().string().starts_with(kEvents)) events.push_back(entry.path().string());
    for (const std::string& log : events)
      if (log != files_->events->path()) cut_event_file(log, step);
  });
}

void RunFolder::check_in_place() const {
  if (files_->log->is_in_place()) return;
  const fs::path now = files_->log->place();
  COSS_CHECK(!now.empty(), path_ + " was removed while the run used it: nothing more can be written");
  throw Error(fmt::format("{} was moved while the run used it; it is {} now: continue it there with --resume", path_,
                          now.parent_path().string()));
}

std::string RunFolder::write_checkpoint(int64_t step, const std::function<void(const std::string&)>& write) {
  check_in_place();
  const fs::path folder = path_ + "/" + kCheckpoints, target = folder / checkpoint_name(step);
  // Training is deterministic: what would be written is what is there.
  if (fs::exists(target / kMark)) return target.string();
  const fs::path aside = folder / fmt::format("{}{:08}", kTemporary, step);
  checked("write " + target.string(), [&] {
    fs::remove_all(target);
    fs::remove_all(aside);
    fs::create_directory(aside);
    try {
      write(aside.string());
      for (const auto& entry : fs::directory_iterator(aside)) synchronize(entry.path());
      write_file_atomically((aside / kMark).string(), fmt::format("{}\n", step));
      fs::rename(aside, target);
      synchronize(folder);
    } catch (...) {
      std::error_code ignored;
      fs::remove_all(aside, ignored);
      throw;
    }
  });
  keep();
  return target.string();
}

std::vector<RunCheckpoint> RunFolder::checkpoints() const {
  return checked("read the checkpoints of " + path_, [&] { return complete_checkpoints(path_); });
}

std::optional<RunCheckpoint> RunFolder::last_checkpoint() const {
  const std::vector<RunCheckpoint> all = checkpoints();
  return all.empty() ? std::nullopt : std::optional(all.back());
}

void RunFolder::prune(int64_t keep) {
  std::vector<RunCheckpoint> all = checkpoints();
  checked("remove old checkpoints of " + path_, [&] {
    std::vector<fs::path> broken;
    for (const auto& entry : fs::directory_iterator(path_ + "/" + kCheckpoints)) {
      const std::string name = entry.path().filename();
      if (name.starts_with(kTemporary) || (step_of(name) && !fs::exists(entry.path() / kMark)))
        broken.push_back(entry.path());
    }
    for (const fs::path& path : broken) fs::remove_all(path);
    if (keep <= 0) return;
    for (size_t i = 0; i + size_t(keep) < all.size(); ++i) {
      // The mark is removed first: a half-removed checkpoint must not count.
      fs::remove(fs::path(all[i].path) / kMark);
      fs::remove_all(all[i].path);
    }
  });
}

}  // namespace coss
