// RunFolder: what a training run leaves on disk, and the rules that keep it whole: nothing is overwritten silently, the
// folder appears with all that resuming needs and goes again if the start fails, and a checkpoint either carries its
// mark of completeness or does not count.
//
//   config.json     the resolved recipe               checkpoints/step_00001234/   one folder each, the mark `complete`
//   log.txt         what was printed, with times      metrics.jsonl                one object per logged step
//   events.out.…    the same for TensorBoard
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "training/config.h"

namespace coss {

// A complete checkpoint of the run.
struct RunCheckpoint {
  int64_t step = 0;
  std::string path;
};

class RunFolder {
 public:
  static bool holds_run(const std::string& path);
  // A new run, in a folder that does not exist, is empty, or holds what a start left that was killed. The folder is
  // removed with this object unless keep() was called or a checkpoint written. Throws Error when `path` holds a run
  // already or anything else.
  static RunFolder create(const std::string& path, const Config& config);
  // Throws Error when `path` holds no run, or one of a recipe that differs in what is computed (the differences
  // listed). A run without a checkpoint starts anew: its metrics are removed.
  static RunFolder resume(const std::string& path, const Config& config);

  RunFolder(RunFolder&&) noexcept;
  RunFolder& operator=(RunFolder&&) noexcept;
  ~RunFolder();

  const std::string& path() const { return path_; }
  // From now on there is something to continue.
  void keep();
  bool is_kept() const;

  // One line with the time in front, to log.txt.
  void log(const std::string& line);
  // One line of metrics.jsonl, {"step": …, name: value, …}, and a TensorBoard scalar for each.
  void metrics(int64_t step, const std::vector<std::pair<std::string, double>>& values);
  // Forgets metrics of steps after `step`: a resumed run writes them again.
  void truncate_metrics(int64_t step);

  // Calls write(folder) on a folder aside, marks it complete and renames it into place. An interrupted or failed write
  // leaves no checkpoint. Returns its final path.
  std::string write_checkpoint(int64_t step, const std::function<void(const std::string& folder)>& write);
  std::vector<RunCheckpoint> checkpoints() const;  // complete ones, oldest first
  std::optional<RunCheckpoint> last_checkpoint() const;
  // Removes all but the newest `keep` (0: removes none) and what broken writes left.
  void prune(int64_t keep);

 private:
  struct Files;
  RunFolder(const std::string& path, std::unique_ptr<Files> files);

  std::string path_;
  std::unique_ptr<Files> files_;
};

}  // namespace coss
