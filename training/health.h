// Figures of health: what the features of the last batch say about a training run, and the warnings that follow.
#pragma once
#include <cstdint>
#include <limits>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/tensor.h"

namespace coss {

// Each is NaN where it is not defined: no teacher, too few rows, features that are not finite.
struct Health {
  static constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  // Mean over the dimensions of the standard deviation of rows of unit length, times sqrt(D): 1 where they point
  // everywhere alike, 0 where all rows are the same.
  double student_std = kNone, teacher_std = kNone;
  // exp of the entropy of the singular values of the centered features over their sum (Roy and Vetterli, "The effective
  // rank", EUSIPCO 2007); 0 where all rows are the same.
  double student_rank = kNone, teacher_rank = kNone;
  // Share of the teacher's 1, 5, 10 nearest rows (by cosine) that are among the student's as many nearest.
  double overlap_1 = kNone, overlap_5 = kNone, overlap_10 = kNone;
  int64_t rows = 0;  // that were looked at

  // Those that are defined, by the names that metrics.jsonl has.
  std::vector<std::pair<std::string, double>> numbers() const;
};

// Of features (N,D), of which the first 256 rows count; either may be empty. Waits for the device.
Health measure_health(const Tensor& student, const Tensor& teacher);

// What is abnormal, each kind once. `gradient_norm` is the last step's.
class HealthWatch {
 public:
  std::vector<std::string> look(int64_t step, const Health& health, double gradient_norm);

 private:
  std::set<std::string> said_;
  double first_std_ = Health::kNone;
  std::vector<double> norms_;  // the last ones
};

}  // namespace coss
