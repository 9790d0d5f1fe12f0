// Figures of health: what the features of the last micro-batch say about a run, and the warnings that follow.
#pragma once
#include <cstdint>
#include <limits>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/tensor.h"

namespace coss {

// A figure is NaN where it is not defined: without a teacher, with too few rows, with features that are not finite.
struct Health {
  static constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  // The rows are scaled to unit length. Mean over the dimensions of their standard deviation, times sqrt(D): 1 if they
  // point in all directions alike, 0 if all rows are the same.
  double student_std = kNone, teacher_std = kNone;
  // The exponential of the entropy of the singular values of the centered features, each divided by their sum (Roy and
  // Vetterli, "The effective rank", EUSIPCO 2007); 0 if all rows are the same.
  double student_rank = kNone, teacher_rank = kNone;
  // The share of the teacher's 1, 5 or 10 nearest rows (by cosine) that are among the student's 1, 5 or 10 nearest.
  double overlap_1 = kNone, overlap_5 = kNone, overlap_10 = kNone;
  int64_t rows = 0;  // how many rows were looked at

  // The figures that are defined, with the names that they have in metrics.jsonl.
  std::vector<std::pair<std::string, double>> numbers() const;
};

// The figures of features (N,D) of any float dtype. Only the first 256 rows count; either tensor may be empty. Waits
// for the device.
Health measure_health(const Tensor& student, const Tensor& teacher);

// Warns of abnormal figures, once for each kind.
class HealthWatch {
 public:
  // Returns the warnings of this step. `gradient_norm` is that of the last step.
  std::vector<std::string> look(int64_t step, const Health& health, double gradient_norm);

 private:
  std::set<std::string> said_;
  double first_std_ = Health::kNone;
  std::vector<double> norms_;  // of the last steps that were looked at
};

}  // namespace coss
