// A warm-up, then the curve of the schedule's name.
#include "training/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "engine/check.h"
#include "engine/text.h"

namespace coss {

const std::vector<std::string>& schedule_names() {
  static const std::vector<std::string> names{"constant", "step", "cosine"};
  return names;
}

double learning_rate(const ScheduleOptions& o, int64_t step, int64_t steps_per_epoch, int64_t total_steps) {
  COSS_ASSERT(steps_per_epoch > 0);
  const double position = double(o.per_epoch ? step / steps_per_epoch * steps_per_epoch : step);
  const double epoch = position / double(steps_per_epoch);
  if (epoch < o.warmup_epochs) return o.warmup_start + (o.base - o.warmup_start) * epoch / o.warmup_epochs;

  if (o.name == "constant") return o.base;
  if (o.name == "step") {
    double rate = o.base;
    for (const double milestone : o.milestones)
      if (epoch >= milestone) rate *= o.factor;
    return rate;
  }
  COSS_CHECK(o.name == "cosine", unknown_name("schedule", o.name, schedule_names()));
  if (epoch < o.hold_epochs) return o.base;
  const double begin = o.warmup_epochs * double(steps_per_epoch);
  const double length = std::max(double(total_steps) - begin, 1.0);
  const double progress = std::min((position - begin) / length, 1.0);
  return o.final + (o.base - o.final) * 0.5 * (1 + std::cos(std::numbers::pi * progress));
}

}  // namespace coss
