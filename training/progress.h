// Progress: one line that is rewritten on a terminal; anywhere else, one plain line after the other.
#pragma once
#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

namespace coss {

struct ProgressState {
  int64_t step = 0, steps = 0;                          // done, and in total
  std::vector<std::pair<std::string, double>> numbers;  // loss terms, gradient norm …
  double learning_rate = 0;
  double images_per_second = 0;
  double wait_share = 0;  // the part of the time that was spent waiting for data
  double seconds_left = 0;
};

// "step 120/2000 loss -1.234 lr 0.03 1234 img/s wait 2 % left 1:02"
std::string format_progress(const ProgressState& state);
// 62 -> "1:02", 3723 -> "1:02:03"
std::string format_duration(double seconds);

class Progress {
 public:
  // `out` is stderr if stdout is for JSON.
  explicit Progress(std::FILE* out = stdout);
  ~Progress() { finish(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void show(const ProgressState& state);
  // Writes a line that stays, above the progress line.
  void message(const std::string& text);
  // Ends the progress line.
  void finish();

 private:
  std::FILE* out_;
  bool terminal_;
  size_t shown_ = 0;  // width of the progress line as it is shown now
};

}  // namespace coss
