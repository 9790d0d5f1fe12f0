// The loader's ring of batches. Workers take parts of a batch, so several of them share one batch and the first batch
// is ready soon. The worker that finishes a batch joins its parts in order, so a batch is the same for any number of
// workers.
#include "data/loader.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <exception>
#include <set>

namespace coss {

namespace {

// One batch in flight. While parts are out, only their workers write, each to its own images.
struct Slot {
  Batch batch;
  std::vector<std::vector<uint8_t>> pixels;  // per part and view, until they are joined
  int64_t parts = 0, taken = 0, done = 0;
  bool ready = false;
  std::exception_ptr error;
};

struct Position {
  int64_t epoch = 0, number = 0;
};

// Memory of one worker: the regions of the views of one image, and the decoded pixels that the views share.
struct Scratch {
  std::vector<Region> regions;
  std::vector<uint8_t> decoded;
};

Region common(const Region& a, const Region& b) {
  const int32_t y = std::max(a.y, b.y), x = std::max(a.x, b.x);
  return {y, x, std::min(a.y + a.h, b.y + b.h) - y, std::min(a.x + a.w, b.x + b.w) - x};
}

Region around(const Region& a, const Region& b) {
  const int32_t y = std::min(a.y, b.y), x = std::min(a.x, b.x);
  return {y, x, std::max(a.y + a.h, b.y + b.h) - y, std::max(a.x + a.w, b.x + b.w) - x};
}

// Appends the pixels of the region `wanted`, taken from those of the region `held`. Pixels outside of `held` are black.
void append_region(const std::vector<uint8_t>& source, const Region& held, const Region& wanted,
                   std::vector<uint8_t>& pixels) {
  const size_t before = pixels.size(), row = size_t(wanted.w) * 3;
  pixels.resize(before + size_t(wanted.h) * row);
  const Region both = common(held, wanted);
  uint8_t* out = pixels.data() + before + size_t(both.y - wanted.y) * row + size_t(both.x - wanted.x) * 3;
  const uint8_t* in = source.data() + (size_t(both.y - held.y) * size_t(held.w) + size_t(both.x - held.x)) * 3;
  for (int32_t y = 0; y < both.h; ++y, out += row, in += size_t(held.w) * 3) std::memcpy(out, in, size_t(both.w) * 3);
}

}  // namespace

struct Loader::State {
  State(const Dataset& all, Sampler& order, LoaderOptions chosen)
      : dataset(all), sampler(order), options(std::move(chosen)) {}

  void work();
  bool open_next_slot();
  void decode_part(Slot& slot, int64_t part, Scratch& scratch);
  void decode_image(Slot& slot, size_t position, std::vector<uint8_t>* pixels, Scratch& scratch);
  void read_views(Batch& batch, size_t position, std::vector<uint8_t>* pixels, Scratch& scratch);
  void note_broken(int64_t index, const BrokenImage& error);
  void join(Slot& slot);
  Slot& slot_of(int64_t number) { return slots[size_t(number % int64_t(slots.size()))]; }
  size_t views() const { return options.views.size(); }

  const Dataset& dataset;
  Sampler& sampler;
  const LoaderOptions options;

  std::mutex mutex;  // guards all members below, except a slot's batch and pixels while workers have its parts
  std::condition_variable work_changed, batch_changed;
  bool stopping = false, ended = false;
  std::vector<Slot> slots;
  int64_t opened = 0;    // batches whose indices are drawn
  int64_t consumed = 0;  // batches that next() has taken back
  bool lent = false;     // the consumer holds batch number `consumed`
  Position position;     // of the next batch to open
  int64_t last_epoch = -1;
  std::vector<std::vector<uint8_t>> spare;  // buffers of joined parts
  std::set<int64_t> broken;
  double waited = 0;

  std::vector<std::thread> threads;
};

// --- workers -------------------------------------------------------------------------------------------------------

void Loader::State::work() {
  Scratch scratch;
  scratch.regions.resize(views());
  std::unique_lock lock(mutex);
  for (;;) {
    work_changed.wait(lock, [&] {
      const bool parts_left = opened > consumed && slot_of(opened - 1).taken < slot_of(opened - 1).parts;
      return stopping || parts_left || (!ended && opened < consumed + int64_t(slots.size()));
    });
    if (stopping) return;
    // All parts of older batches are taken before a new one is opened.
    if (opened == consumed || slot_of(opened - 1).taken == slot_of(opened - 1).parts) {
      if (!open_next_slot()) continue;
      work_changed.notify_all();
    }
    Slot& slot = slot_of(opened - 1);
    const int64_t part = slot.taken++;
    for (size_t v = 0; v < views() && !spare.empty(); ++v) {
      slot.pixels[size_t(part) * views() + v].swap(spare.back());
      spare.pop_back();
    }
    const bool skip = slot.error != nullptr;
    lock.unlock();
    std::exception_ptr error;
    try {
      if (!skip) decode_part(slot, part, scratch);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    if (error && !slot.error) slot.error = error;
    if (++slot.done < slot.parts) continue;
    lock.unlock();
    if (!slot.error) join(slot);
    lock.lock();
    for (std::vector<uint8_t>& pixels : slot.pixels) {
      pixels.clear();
      spare.push_back(std::move(pixels));
    }
    slot.ready = true;
    batch_changed.notify_all();
  }
}

// Draws the indices of the next batch. False when it has no part to decode: at the end, or after an error. The caller
// holds the lock.
bool Loader::State::open_next_slot() {
  if (position.number >= sampler.batches_per_epoch()) position = {position.epoch + 1, 0};
  if (last_epoch >= 0 && position.epoch > last_epoch) {
    ended = true;
    batch_changed.notify_all();
    return false;
  }
  Slot& slot = slot_of(opened++);
  slot.parts = slot.taken = slot.done = 0;
  slot.ready = false;
  slot.error = nullptr;
  Batch& batch = slot.batch;
  batch.epoch = position.epoch;
  batch.number = position.number++;
  try {
    batch.indices = sampler.batch(batch.epoch, batch.number);
    const auto count = int64_t(batch.indices.size()), size = dataset.size();
    for (const int64_t index : batch.indices) {
      COSS_CHECK(index >= 0 && index < size, "the sampler asks for image " + std::to_string(index) + " of " +
                                                 std::to_string(size) + ": it was made for another data set");
    }
    const int64_t per_part = std::clamp<int64_t>(count / std::max(4 * options.workers, 1), 1, 32);
    slot.parts = (count + per_part - 1) / per_part;
    slot.pixels.assign(size_t(slot.parts) * views(), {});
    batch.labels.assign(size_t(count), -1);
    batch.valid.assign(size_t(count), 1);
    batch.views.resize(views());
    for (View& view : batch.views) view.params.assign(size_t(count), {});
  } catch (...) {
    slot.error = std::current_exception();
    slot.parts = 0;
  }
  if (slot.parts > 0) return true;
  slot.ready = true;
  batch_changed.notify_all();
  return false;
}

void Loader::State::decode_part(Slot& slot, int64_t part, Scratch& scratch) {
  const size_t count = slot.batch.indices.size(), parts = size_t(slot.parts);
  std::vector<uint8_t>* pixels = &slot.pixels[size_t(part) * views()];
  for (size_t v = 0; v < views(); ++v) pixels[v].clear();
  for (size_t i = count * size_t(part) / parts; i < count * size_t(part + 1) / parts; ++i) {
    decode_image(slot, i, pixels, scratch);
  }
}

// A replacement is the next readable image by index. It depends on the files only, not on the worker or on earlier
// batches.
void Loader::State::decode_image(Slot& slot, size_t i, std::vector<uint8_t>* pixels, Scratch& scratch) {
  Batch& batch = slot.batch;
  for (int64_t tries = 0; tries < dataset.size(); ++tries) {
    const int64_t index = batch.indices[i];
    try {
      read_views(batch, i, pixels, scratch);
      batch.labels[i] = dataset.label(index);
      return;
    } catch (const BrokenImage& error) {
      note_broken(index, error);
      if (!options.replace_broken) break;
      batch.indices[i] = (index + 1) % dataset.size();
    }
  }
  COSS_CHECK(!options.replace_broken, "not one image of the data set can be read");
  for (size_t v = 0; v < views(); ++v) {
    ImageParams& params = batch.views[v].params[i];
    params = ImageParams();
    params.offset = int64_t(pixels[v].size());
    params.source_h = params.source_w = params.resize_h = params.resize_w = 1;
    pixels[v].resize(pixels[v].size() + 3, 0);
  }
  batch.valid[i] = 0;
  batch.labels[i] = dataset.label(batch.indices[i]);
}

// The file is decoded once, in the region that covers all views. A single view inside the image needs no copy.
void Loader::State::read_views(Batch& batch, size_t i, std::vector<uint8_t>* pixels, Scratch& scratch) {
  const int64_t index = batch.indices[i];
  // An image that repeats in an epoch gets other draws by its position in the epoch (a random stream has 24 bits for
  // it).
  const int64_t place = sampler.repeats() ? batch.number * sampler.batch_size() + int64_t(i) : 0;
  const auto choose = [&](int32_t height, int32_t width) {
    Region all;
    for (size_t v = 0; v < views(); ++v) {
      const ViewOptions& view = options.views[v];
      const auto number = uint32_t((int64_t(v) + int64_t(views()) * place) & 0xffffff);
      Region& own = scratch.regions[v];
      own = draw_augmentation(view.augmentation, view.image_size, options.seed, uint64_t(batch.epoch), uint64_t(index),
                              number, height, width, batch.views[v].params[i]);
      const Region seen = common(own, {0, 0, height, width});
      all = v == 0 ? seen : around(all, seen);
    }
    return all;
  };
  const bool alone = views() == 1 && !options.views[0].augmentation.crop_first;
  const auto offset = int64_t(pixels[0].size());
  scratch.decoded.clear();
  const Region held = dataset.read(index, choose, alone ? pixels[0] : scratch.decoded);
  batch.views[0].params[i].offset = offset;
  for (size_t v = 0; v < views() && !alone; ++v) {
    batch.views[v].params[i].offset = int64_t(pixels[v].size());
    append_region(scratch.decoded, held, scratch.regions[v], pixels[v]);
  }
}

void Loader::State::note_broken(int64_t index, const BrokenImage& error) {
  const std::lock_guard lock(mutex);
  if (!broken.insert(index).second) return;
  if (options.log) options.log(std::string("broken image skipped: ") + error.what());
  const double share = options.max_broken_share, most = share > 0 ? std::max(1.0, share * double(dataset.size())) : 0;
  COSS_CHECK(double(broken.size()) <= most,
             fmt::format("{} of {} images are broken, more than the allowed share of {}; the last is {}. Repair or "
                         "remove them, or allow more with data.broken in a recipe, --broken in a command",
                         broken.size(), dataset.size(), share, error.what()));
}

void Loader::State::join(Slot& slot) {
  Batch& batch = slot.batch;
  const size_t count = batch.indices.size(), parts = size_t(slot.parts);
  for (size_t v = 0; v < views(); ++v) {
    View& view = batch.views[v];
    size_t total = 0;
    for (size_t part = 0; part < parts; ++part) total += slot.pixels[part * views() + v].size();
    view.pixels.clear();
    view.pixels.reserve(total);
    for (size_t part = 0; part < parts; ++part) {
      const auto before = int64_t(view.pixels.size());
      for (size_t i = count * part / parts; i < count * (part + 1) / parts; ++i) view.params[i].offset += before;
      const std::vector<uint8_t>& pixels = slot.pixels[part * views() + v];
      view.pixels.insert(view.pixels.end(), pixels.begin(), pixels.end());
    }
  }
}

// --- consumer ------------------------------------------------------------------------------------------------------

Loader::Loader(const Dataset& dataset, Sampler& sampler, LoaderOptions options) {
  COSS_CHECK(options.workers > 0 && options.ring > 0 && !options.views.empty(),
             "the loader needs at least one worker, one batch in flight and one view");
  for (const ViewOptions& view : options.views) COSS_CHECK(view.image_size > 0, "a view needs at least one pixel");
  state_ = std::make_unique<State>(dataset, sampler, std::move(options));
}

Loader::~Loader() { stop(); }

void Loader::start(int64_t epoch, int64_t number, int64_t last_epoch) {
  stop();
  COSS_CHECK(state_->sampler.batches_per_epoch() > 0, "the data set is empty: there is no batch to load");
  State& s = *state_;
  s.stopping = s.ended = s.lent = false;
  s.opened = s.consumed = 0;
  s.position = {epoch, number};
  s.last_epoch = last_epoch;
  s.slots.clear();
  s.slots.resize(size_t(s.options.ring));
  for (int i = 0; i < s.options.workers; ++i) s.threads.emplace_back([&s] { s.work(); });
}

const Batch* Loader::next() {
  State& s = *state_;
  COSS_ASSERT(!s.threads.empty());
  std::unique_lock lock(s.mutex);
  if (s.lent) {
    s.lent = false;
    ++s.consumed;
    s.work_changed.notify_all();
  }
  const auto start = std::chrono::steady_clock::now();
  s.batch_changed.wait(lock, [&] { return s.opened > s.consumed ? s.slot_of(s.consumed).ready : s.ended; });
  s.waited += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (s.opened == s.consumed) return nullptr;
  Slot& slot = s.slot_of(s.consumed);
  if (slot.error) std::rethrow_exception(slot.error);
  s.lent = true;
  return &slot.batch;
}

void Loader::stop() {
  State& s = *state_;
  {
    const std::lock_guard lock(s.mutex);
    s.stopping = true;
  }
  s.work_changed.notify_all();
  for (std::thread& thread : s.threads) thread.join();
  s.threads.clear();
}

double Loader::seconds_waited() const {
  const std::lock_guard lock(state_->mutex);
  return state_->waited;
}

int64_t Loader::broken() const {
  const std::lock_guard lock(state_->mutex);
  return int64_t(state_->broken.size());
}

}  // namespace coss
