// RunFolder: the files of a training run, and the rules that keep them whole. Nothing is overwritten silently. The
// folder appears with all that resuming needs, and is removed if the start fails. A checkpoint counts only with its
// mark of completeness.
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
  // Starts a new run in a folder that does not exist, is empty, or holds only what a killed start left. The folder is
  // removed with this object unless keep() was called or a checkpoint was written. Throws Error if `path` holds a run
  // or anything else.
  static RunFolder create(const std::string& path, const Config& config);
  // Continues the run in `path`. Throws Error if there is none, or if its recipe differs in what is computed (it lists
  // the differences). A run without a checkpoint starts again from its beginning: its metrics are removed.
  static RunFolder resume(const std::string& path, const Config& config);

  RunFolder(RunFolder&&) noexcept;
  RunFolder& operator=(RunFolder&&) noexcept;
  ~RunFolder();

  const std::string& path() const { return path_; }
  // From now on the folder stays: there is something to continue.
  void keep();
  bool is_kept() const;

  // Writes one line to log.txt, with the time in front.
  void log(const std::string& line);
  // Writes one line of metrics.jsonl, {"step": …, name: value, …}, and one TensorBoard scalar for each value.
  void metrics(int64_t step, const std::vector<std::pair<std::string, double>>& values);
  // Removes the metrics of steps after `step`, from metrics.jsonl and the event files: a resumed run writes them again.
  void truncate_metrics(int64_t step);

  // Calls write(folder) with a folder aside, marks that complete and renames it into place. If writing fails or is
  // interrupted, there is no checkpoint. Returns the checkpoint's path.
  std::string write_checkpoint(int64_t step, const std::function<void(const std::string& folder)>& write);
  // Throws Error that says where the folder is now if it was moved or removed while the run uses it: what is written to
  // its old path would stand in another folder.
  void check_in_place() const;
  std::vector<RunCheckpoint> checkpoints() const;  // complete ones, oldest first
  std::optional<RunCheckpoint> last_checkpoint() const;
  // Removes all checkpoints but the newest `keep` (0: it removes none), and what unfinished writes left.
  void prune(int64_t keep);

 private:
  struct Files;
  RunFolder(const std::string& path, std::unique_ptr<Files> files);

  std::string path_;
  std::unique_ptr<Files> files_;
};

}  // namespace coss
