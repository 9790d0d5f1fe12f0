// The checks that need more than one key, or a table of names.
#include "training/config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "data/augment.h"
#include "engine/bounds.h"
#include "formats/layouts.h"

namespace coss {

void refuse(const std::string& origin, const std::vector<std::string>& complaints) {
  if (complaints.size() == 1) throw Error(fmt::format("{}: {}", origin, complaints[0]));
  throw Error(fmt::format("{}: {} mistakes\n  {}", origin, complaints.size(), fmt::join(complaints, "\n  ")));
}

void check(const Config& c) {
  std::vector<std::string> complaints;
  const auto need = [&](bool holds, std::string complaint) {
    if (!holds) complaints.push_back(std::move(complaint));
  };
  const auto one_of = [&](const char* key, const std::string& value, const std::vector<std::string>& known) {
    if (std::find(known.begin(), known.end(), value) == known.end())
      complaints.push_back(fmt::format("{} is '{}'; known: {}", key, value, fmt::join(known, ", ")));
  };
  // Runs a look-up that throws an Error with the known names.
  const auto look_up = [&](const char* key, const auto& find) {
    try {
      find();
    } catch (const Error& error) {
      complaints.push_back(fmt::format("{}: {}", key, error.what()));
    }
  };

  one_of("device", c.device, {"auto", "cpu", "cuda"});
  one_of("dtype", c.dtype, {"auto", "fp32", "bf16", "fp16"});
  need(c.dtype != "fp16" || c.device != "cpu", "dtype=fp16 is for GPUs: use dtype=bf16, or device=cuda");
  need(!c.tf32 || c.device != "cpu", "tf32 is for GPUs: leave it out, or use device=cuda");
  std::vector<std::string> layouts = layout_names();
  layouts.insert(layouts.begin(), "auto");
  one_of("teacher.from", c.teacher.from, layouts);
  one_of("student.from", c.student.from, layouts);
  one_of("optimizer.name", c.optimizer.name, optimizer_names());
  one_of("schedule.name", c.schedule.name, schedule_names());
  look_up("data.augmentation", [&] { find_augmentation(c.data.augmentation); });
  need(!c.data.path.empty(), "data.path is empty: add data.path=FOLDER");
  need(c.data.split >= 0 && c.data.split < 1,
       fmt::format("data.split is {}; it must be at least 0 and below 1", c.data.split));
  need(c.data.split == 0 || c.data.test.empty(), "data.test and data.split exclude each other: leave out one of them");
  need(!c.student.model.empty(), "student.model is empty: add student.model=NAME (see `coss models`)");
  if (!c.student.model.empty()) look_up("student.model", [&] { find_model(c.student.model); });
  if (!c.teacher.model.empty()) look_up("teacher.model", [&] { find_model(c.teacher.model); });
  look_up("method.name", [&] {
    if (!find_method(c.method.name).needs.teacher) return;
    need(!c.teacher.model.empty(), fmt::format("method {} needs a teacher: add teacher.model=NAME", c.method.name));
    need(!c.teacher.weights.empty(), fmt::format("method {} needs a teacher: add teacher.weights=FILE", c.method.name));
  });

  const auto within = [&](const char* key, auto value, const Bounds& bounds) {
    need(bounds.hold(double(value)), fmt::format("{} is {}; it must be {}", key, value, bounds.str()));
  };
  within("threads", c.threads, kThreadBounds);
  within("data.image_size", c.data.image_size, kImageSizeBounds);
  within("data.workers", c.data.workers, kWorkerBounds);
  within("data.broken", c.data.broken, kShareBounds);
  int64_t described = 0;
  for (const ViewConfig& view : c.data.views) {
    if (!view.augmentation.empty()) look_up("data.views", [&] { find_augmentation(view.augmentation); });
    if (view.image_size != 0) within("data.views: image_size", view.image_size, kImageSizeBounds);
    need(view.count >= 1 && view.count <= 64,
         fmt::format("data.views: count is {}; it must be at least 1 and at most 64", view.count));
    described += std::clamp<int64_t>(view.count, 0, 64);
  }
  if (is_method(c.method.name)) {
    const int64_t taken = views_of(c.method);
    need(taken >= 1 && taken <= 64,
         fmt::format("the method {} with these options takes {} views of an image; they must "
                     "be at least 1 and at most 64",
                     c.method.name, taken));
    need(c.data.views.empty() || described == taken,
         fmt::format("data.views describes {} views, and the method {} takes {}", described, c.method.name, taken));
  }
  if (c.data.mean)
    for (const float mean : *c.data.mean) within("data.mean", mean, kMeanBounds);
  if (c.data.stddev)
    for (const float stddev : *c.data.stddev) within("data.stddev", stddev, kStddevBounds);
  within("student.classes", c.student.classes, kClassBounds);
  within("train.batch", c.train.batch, kBatchBounds);
  within("train.epochs", c.train.epochs, {1, kEpochBounds.most});
  within("train.max_steps", c.train.max_steps, kStepBounds);
  within("train.accumulate", c.train.accumulate, kBatchBounds);
  within("train.clip_norm", c.train.clip_norm, kRateBounds);
  need(c.train.ema_decay >= 0 && c.train.ema_decay < 1, "train.ema_decay must be at least 0 and below 1");
  within("optimizer.weight_decay", c.optimizer.weight_decay, kRateBounds);
  need(c.optimizer.momentum >= 0 && c.optimizer.momentum < 1, "optimizer.momentum must be at least 0 and below 1");
  within("schedule.learning_rate", c.schedule.base, kRateBounds);
  within("schedule.warmup_epochs", c.schedule.warmup_epochs, kEpochBounds);
  within("schedule.hold_epochs", c.schedule.hold_epochs, kEpochBounds);
  within("checkpoint.every_steps", c.checkpoint.every_steps, kStepBounds);
  within("checkpoint.keep", c.checkpoint.keep, kStepBounds);
  within("log.every_steps", c.log.every_steps, {1, kStepBounds.most});
  within("knn.every_epochs", c.knn.every_epochs, kEpochBounds);
  within("knn.every_steps", c.knn.every_steps, kStepBounds);
  within("knn.k", c.knn.k, kNeighborBounds);

  const int64_t nearest = c.neighbors.nearest;
  within("neighbors.nearest", nearest, {0, kNeighborBounds.most});
  within("neighbors.pool", c.neighbors.pool, kNeighborBounds);
  if (nearest > 0) {
    need(c.neighbors.pool >= nearest,
         fmt::format("neighbors.pool is {}; it must be at least neighbors.nearest = {}", c.neighbors.pool, nearest));
    need(c.train.batch % (1 + nearest) == 0,
         fmt::format("train.batch = {} is no multiple of 1 + neighbors.nearest = {}", c.train.batch, 1 + nearest));
    need(!c.neighbors.file.empty() || !c.teacher.model.empty(),
         "neighbors.nearest needs neighbors.file or a teacher to mine with");
  }
  if (nearest >= 0 && c.train.accumulate >= 1)
    need(c.anchors() % c.train.accumulate == 0,
         fmt::format("train.accumulate = {} does not divide the step's {} {}", c.train.accumulate, c.anchors(),
                     nearest > 0 ? "anchors" : "images"));
  if (!complaints.empty()) refuse("recipe", complaints);
}

std::vector<ViewConfig> list_views(const Config& config) {
  const ViewConfig usual{config.data.augmentation, config.data.image_size, 1};
  if (config.data.views.empty()) return std::vector<ViewConfig>(size_t(views_of(config.method)), usual);
  std::vector<ViewConfig> all;
  for (const ViewConfig& view : config.data.views) {
    ViewConfig one = usual;
    if (!view.augmentation.empty()) one.augmentation = view.augmentation;
    if (view.image_size > 0) one.image_size = view.image_size;
    all.insert(all.end(), size_t(view.count), one);
  }
  return all;
}

}  // namespace coss
