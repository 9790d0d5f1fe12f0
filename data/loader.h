// Loader: worker threads decode batches ahead into a ring of reusable buffers; next() returns them in the sampler's
// order. A batch may have several views of its images, each with its own augmentation and size; a file is decoded once
// for all views.
#pragma once
#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "data/augment.h"
#include "data/dataset.h"
#include "data/sampler.h"

namespace coss {

// The input from which augment_images makes one view of a batch's images.
struct View {
  std::vector<ImageParams> params;
  std::vector<uint8_t> pixels;
};

// Host memory of one batch.
struct Batch {
  int64_t epoch = 0, number = 0;  // which batch of which epoch, both from 0
  std::vector<int64_t> indices;   // what the sampler asked for; in training a broken image is replaced by the next
                                  // readable one, whose index is here
  std::vector<int32_t> labels;
  std::vector<uint8_t> valid;  // 0: broken; its pixels are black (only without replacement)
  std::vector<View> views;     // as LoaderOptions::views, all of the same images
};

struct ViewOptions {
  Augmentation augmentation;
  int32_t image_size = 224;
};

struct LoaderOptions {
  std::vector<ViewOptions> views;
  uint64_t seed = 0;
  int workers = 2;
  int ring = 4;                    // batches in flight
  bool replace_broken = true;      // false: mark them in Batch::valid
  double max_broken_share = 0.01;  // of the data set; more are an Error. One image may always, unless it is 0
  std::function<void(const std::string&)> log;  // receives one line per broken file
};

class Loader {
 public:
  Loader(const Dataset& dataset, Sampler& sampler, LoaderOptions options);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  // Starts (or restarts) at a position. Later epochs follow, until stop() or, if last_epoch >= 0, the end of that
  // epoch.
  void start(int64_t epoch, int64_t number, int64_t last_epoch = -1);
  // The next batch, valid until the call after it; null at the end. Throws what a worker threw.
  const Batch* next();
  void stop();

  double seconds_waited() const;  // in next(), in total
  int64_t broken() const;         // different broken files met so far

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace coss
