// Trainer: a whole training run, from a resolved recipe to a student on disk. It owns the parts of a run and calls them
// in order. One step of it is in training/step.h, its files are in training/run_folder.h.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/loader.h"
#include "evaluation/features.h"
#include "evaluation/loaded_network.h"
#include "training/health.h"
#include "training/progress.h"
#include "training/resolve.h"
#include "training/run_folder.h"
#include "training/step.h"

namespace coss {

struct TrainResult {
  int64_t steps = 0;  // of the run so far
  bool interrupted = false;
  double seconds = 0, images_per_second = 0;  // of this process
  std::map<std::string, double> last;         // the last logged numbers
  std::string student;                        // the final weights; empty when interrupted
};

class Trainer {
 public:
  // Opens the data, reads the teacher and builds the student; writes nothing. Closes the recipe's checkpoints. Throws
  // Error on whatever does not fit.
  explicit Trainer(ResolvedRecipe recipe);
  ~Trainer();

  // Data, teacher, student and length of the run in a few lines, for --dry-run and the log.
  std::string summary() const;

  // Makes one step on black images. On Device::dry it makes the processor's plans and computes nothing. Returns the
  // bytes that parameters and step take. Throws Error if some part cannot run.
  size_t rehearse();

  // Runs to the end, or until Ctrl-C or SIGTERM, from the folder's last complete checkpoint if there is one. Keeps the
  // folder once neighbors are mined or a step is done. Throws Error if the loss or the teacher's features are not
  // finite, with the step and the last good checkpoint, and Interrupted if a signal comes before the first step.
  TrainResult run(RunFolder& folder, Progress& progress);
  int64_t steps() const { return step_->updates(); }

 private:
  void open_data();
  void read_teacher();
  void count_steps();
  void make_student();
  void make_the_method();
  void make_step();
  void make_sampler(const std::string& neighbors);
  FeatureOptions feature_options(std::function<void(const std::string&)> log) const;
  void mine_neighbors(const std::string& out, Progress& progress);
  void save(RunFolder& folder);
  void load(const RunCheckpoint& checkpoint);
  void report(RunFolder& folder, Progress& progress, double learning_rate);
  void knn_check(RunFolder& folder, Progress& progress);
  void save_student(const std::string& path);
  void save_students(const std::string& place);  // the student and, if there is one, its moving average
  void check_finite(const RunFolder& folder) const;

  ResolvedRecipe recipe_;  // its checkpoints are closed after construction
  const Config& config_ = recipe_.config;
  std::unique_ptr<Dataset> train_set_, test_set_;  // test only for the online kNN check
  std::unique_ptr<LoadedNetwork> teacher_;
  std::unique_ptr<LoadedHead> teacher_head_;  // null where the method needs none, or the teacher's file has none
  Params params_;
  std::unique_ptr<Network> student_;
  std::string student_model_;    // the model or variant that was built
  int64_t student_classes_ = 0;  // of its classifier
  std::string student_report_;   // what was read of student.weights, in words
  std::unique_ptr<Method> method_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<Step> step_;
  std::unique_ptr<Sampler> sampler_;
  std::unique_ptr<Loader> loader_;
  int64_t micro_batches_per_epoch_ = 0, steps_per_epoch_ = 0, total_steps_ = 0;

  // Times and counts since the last report, for the progress line.
  struct Window;
  std::unique_ptr<Window> window_;
  std::map<std::string, double> last_;
  HealthWatch health_watch_;
};

}  // namespace coss
