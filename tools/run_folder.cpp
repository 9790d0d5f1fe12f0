// Files of a run. A checkpoint is written in ".tmp_step_…", synchronised, marked and renamed, in this order, so
// whatever interrupts it, a folder named step_… with the mark holds everything.
#include "tools/run_folder.h"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <system_error>

#include "formats/atomic_file.h"
#include "formats/event_file.h"

namespace coss {

namespace fs = std::filesystem;

namespace {

constexpr const char* kMark = "complete";
constexpr const char* kTemporary = ".tmp_step_";

// Runs a file operation and turns the library's exception into an Error.
template <class Operation>
auto checked(const std::string& what, const Operation& operation) {
  try {
    return operation();
  } catch (const fs::filesystem_error& error) {
    throw Error(fmt::format("cannot {}: {}", what, error.code().message()));
  }
}

// Forces a file or a folder to the disk.
void synchronise(const fs::path& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  COSS_CHECK(descriptor >= 0, fmt::format("cannot open {}: {}", path.string(), std::strerror(errno)));
  const int failed = fsync(descriptor);
  const int reason = errno;
  close(descriptor);
  // Some file systems cannot synchronise a folder and say EINVAL.
  COSS_CHECK(!failed || reason == EINVAL, fmt::format("cannot write {}: {}", path.string(), std::strerror(reason)));
}

std::string checkpoint_name(int64_t step) { return fmt::format("step_{:08}", step); }

std::optional<int64_t> step_of(const std::string& name) {
  if (!name.starts_with("step_") || name.size() < 6 || name.size() > 20) return std::nullopt;
  if (!std::all_of(name.begin() + 5, name.end(), [](unsigned char c) { return c >= '0' && c <= '9'; }))
    return std::nullopt;
  return std::stoll(name.substr(5));
}

// An append-only text file; each line reaches the system at once.
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
    line += '\n';
    const bool written = std::fwrite(line.data(), 1, line.size(), file_) == line.size() && std::fflush(file_) == 0;
    COSS_CHECK(written, fmt::format("cannot write {}: {}", path_, std::strerror(errno)));
  }
  int descriptor() const { return fileno(file_); }

 private:
  std::string path_;
  std::FILE* file_;
};

}  // namespace

struct RunFolder::Files {
  explicit Files(const std::string& path)
      : log(path + "/log.txt"), metrics(std::make_unique<LineFile>(path + "/metrics.jsonl")), events(path) {}
  LineFile log;  // locked as long as the run is open
  std::unique_ptr<LineFile> metrics;
  EventFile events;
};

RunFolder::RunFolder(RunFolder&&) noexcept = default;
RunFolder& RunFolder::operator=(RunFolder&&) noexcept = default;
RunFolder::~RunFolder() = default;

RunFolder::RunFolder(const std::string& path) : path_(path) {
  checked("make " + path, [&] { fs::create_directories(fs::path(path) / "checkpoints"); });
  files_ = std::make_unique<Files>(path);
  // Two processes on one run would spoil each other's files; the lock ends with the process.
  COSS_CHECK(flock(files_->log.descriptor(), LOCK_EX | LOCK_NB) == 0,
             fmt::format("{} is in use by another process", path));
}

RunFolder RunFolder::create(const std::string& path, const Config& config) {
  std::error_code ignored;
  COSS_CHECK(!fs::exists(path + "/config.json", ignored),
             fmt::format("{} holds a run already: continue it with --resume, or choose another --out", path));
  const bool used = fs::exists(path, ignored) && (!fs::is_directory(path, ignored) || !fs::is_empty(path, ignored));
  COSS_CHECK(!used, fmt::format("{} exists and is no empty folder: choose another --out", path));
  RunFolder folder(path);
  write_file_atomically(path + "/config.json", to_json(config));
  return folder;
}

RunFolder RunFolder::resume(const std::string& path, const Config& config) {
  std::error_code ignored;
  COSS_CHECK(fs::exists(path + "/config.json", ignored),
             fmt::format("{} holds no run to resume: start one without --resume", path));
  const std::vector<std::string> changed = differences(load_config(path + "/config.json", {}), config);
  COSS_CHECK(changed.empty(), fmt::format("{} cannot be resumed with a different recipe; changed:\n  {}", path,
                                          fmt::join(changed, "\n  ")));
  return RunFolder(path);
}

void RunFolder::log(const std::string& line) {
  files_->log.write(fmt::format("{:%Y-%m-%d %H:%M:%S} {}", fmt::localtime(std::time(nullptr)), line));
}

void RunFolder::metrics(int64_t step, const std::vector<std::pair<std::string, double>>& values) {
  std::string line = fmt::format("{{\"step\": {}", step);
  for (const auto& [name, value] : values) {
    line +=
        fmt::format(", {}: {}", nlohmann::json(name).dump(), std::isfinite(value) ? fmt::format("{}", value) : "null");
    files_->events.scalar(name, step, value);
  }
  files_->metrics->write(line + "}");
  files_->events.flush();
}

void RunFolder::truncate_metrics(int64_t step) {
  const std::string file = path_ + "/metrics.jsonl";
  std::string kept, line;
  std::ifstream stream(file);
  while (std::getline(stream, line)) {
    const auto json = nlohmann::json::parse(line, nullptr, false);  // the last line may be torn
    if (json.is_object() && json.contains("step") && json["step"].is_number_integer() && json["step"] <= step)
      kept += line + "\n";
  }
  write_file_atomically(file, kept);
  files_->metrics = std::make_unique<LineFile>(file);
}

std::string RunFolder::write_checkpoint(int64_t step, const std::function<void(const std::string&)>& write) {
  const fs::path folder = fs::path(path_) / "checkpoints", target = folder / checkpoint_name(step);
  // Training is deterministic: what would be written is what is there.
  if (fs::exists(target / kMark)) return target.string();
  const fs::path aside = folder / fmt::format("{}{:08}", kTemporary, step);
  checked("write " + target.string(), [&] {
    fs::remove_all(target);
    fs::remove_all(aside);
    fs::create_directories(aside);
    try {
      write(aside.string());
      for (const auto& entry : fs::directory_iterator(aside)) synchronise(entry.path());
      write_file_atomically((aside / kMark).string(), fmt::format("{}\n", step));
      fs::rename(aside, target);
      synchronise(folder);
    } catch (...) {
      std::error_code ignored;
      fs::remove_all(aside, ignored);
      throw;
    }
  });
  return target.string();
}

std::vector<Checkpoint> RunFolder::checkpoints() const {
  return checked("read " + path_ + "/checkpoints", [&] {
    std::vector<Checkpoint> found;
    for (const auto& entry : fs::directory_iterator(fs::path(path_) / "checkpoints"))
      if (const auto step = step_of(entry.path().filename()); step && fs::exists(entry.path() / kMark))
        found.push_back({*step, entry.path().string()});
    std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.step < b.step; });
    return found;
  });
}

std::optional<Checkpoint> RunFolder::last_checkpoint() const {
  const std::vector<Checkpoint> all = checkpoints();
  return all.empty() ? std::nullopt : std::optional(all.back());
}

void RunFolder::prune(int64_t keep) {
  std::vector<Checkpoint> all = checkpoints();
  checked("remove old checkpoints of " + path_, [&] {
    std::vector<fs::path> broken;
    for (const auto& entry : fs::directory_iterator(fs::path(path_) / "checkpoints")) {
      const std::string name = entry.path().filename();
      if (name.starts_with(kTemporary) || (step_of(name) && !fs::exists(entry.path() / kMark)))
        broken.push_back(entry.path());
    }
    for (const fs::path& path : broken) fs::remove_all(path);
    if (keep <= 0) return;
    for (size_t i = 0; i + size_t(keep) < all.size(); ++i) {
      // The mark goes first: a half-removed checkpoint must not count.
      fs::remove(fs::path(all[i].path) / kMark);
      fs::remove_all(all[i].path);
    }
  });
}

}  // namespace coss
