// The learning rate is a pure function of the step, so that a run can be resumed anywhere without state.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace coss {

struct ScheduleOptions {
  std::string name = "cosine";  // constant | step | cosine
  double base = 0.03;           // the full learning rate
  double final = 0;             // cosine: the rate at the end
  bool per_epoch = false;       // the rate changes between epochs only, else at every step

  // The rate rises linearly from `warmup_start` to base; the cosine then runs over the rest of the epochs.
  double warmup_epochs = 0;
  double warmup_start = 0;
  // cosine: the rate stays at base while the epoch is below this. The cosine nevertheless counts from the start of
  // training, as in the program of CoSS's authors.
  double hold_epochs = 0;
  // step: the rate is multiplied by `factor` at each of these epochs.
  std::vector<double> milestones{};
  double factor = 0.1;
};

// The rate of step `step` (0 is the first). Throws Error on an unknown name.
double learning_rate(const ScheduleOptions& options, int64_t step, int64_t steps_per_epoch, int64_t total_steps);
const std::vector<std::string>& schedule_names();

}  // namespace coss
