// The loader: batches do not depend on the number of workers, it can start at every position, broken files are replaced
// or marked, and errors reach the consumer.
#include "data/loader.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>

#include "tests/data/data_files.h"
#include "tests/support/support.h"

namespace coss::test {
namespace {

// Images of different sizes made of their index; those in `broken` cannot be read, `fatal` throws another error.
class FakeDataset : public Dataset {
 public:
  explicit FakeDataset(int64_t size, std::set<int64_t> broken = {}, int64_t fatal = -1)
      : size_(size), broken_(std::move(broken)), fatal_(fatal) {}
  int64_t size() const override { return size_; }
  int32_t label(int64_t index) const override { return int32_t(index % 7); }
  int32_t classes() const override { return 7; }
  std::string name(int64_t index) const override { return "image " + std::to_string(index); }
  Region read(int64_t index, const std::function<Region(int32_t, int32_t)>& choose,
              std::vector<uint8_t>& pixels) const override {
    const Region region = choose(int32_t(20 + index % 5), int32_t(30 + index % 3));
    if (broken_.count(index)) throw BrokenImage(name(index) + ": broken");
    if (index == fatal_) throw Error(name(index) + ": the disk is on fire");
    for (int32_t y = region.y; y < region.y + region.h; ++y)
      for (int32_t x = region.x; x < region.x + region.w; ++x)
        for (int32_t c = 0; c < 3; ++c) pixels.push_back(level(index, y, x, c));
    return region;
  }
  static uint8_t level(int64_t index, int32_t y, int32_t x, int32_t c) {
    return uint8_t(index + 31 * y + 3 * x + 90 * c);
  }

 private:
  int64_t size_;
  std::set<int64_t> broken_;
  int64_t fatal_;
};

// Everything that a consumer sees of a batch, as bytes that can be compared.
std::vector<uint8_t> bytes_of(const Batch& batch) {
  std::vector<uint8_t> bytes;
  auto add = [&](const void* data, size_t size) {
    const auto* start = static_cast<const uint8_t*>(data);
    bytes.insert(bytes.end(), start, start + size);
  };
  add(&batch.epoch, 8);
  add(&batch.number, 8);
  add(batch.indices.data(), batch.indices.size() * 8);
  add(batch.labels.data(), batch.labels.size() * 4);
  add(batch.valid.data(), batch.valid.size());
  for (const View& view : batch.views) {
    for (const ImageParams& p : view.params) {
      add(&p.offset, 8);
      add(&p.source_h, 24);
      add(&p.bicubic, 8);
      add(&p.brightness, 24);
    }
    add(view.pixels.data(), view.pixels.size());
  }
  return bytes;
}

LoaderOptions options_with(int workers, int ring, const std::vector<const char*>& views = {"moco_v2"}) {
  LoaderOptions options;
  for (const char* view : views) options.views.push_back({find_augmentation(view), 16});
  options.seed = 3;
  options.workers = workers;
  options.ring = ring;
  return options;
}

using Batches = std::vector<std::vector<uint8_t>>;

Batches take(Loader& loader, int count) {
  Batches batches;
  while (count-- > 0) {
    const Batch* batch = loader.next();
    if (!batch) break;
    batches.push_back(bytes_of(*batch));
  }
  return batches;
}

Batches load(const Dataset& dataset, LoaderOptions options, int64_t epoch, int64_t number, int count) {
  ShuffledSampler sampler(dataset.size(), 12, 9);
  Loader loader(dataset, sampler, std::move(options));
  loader.start(epoch, number);
  return take(loader, count);
}

TEST(Loader, NumberOfWorkersAndRingChangeNothing) {
  const FakeDataset dataset(50);
  const Batches one = load(dataset, options_with(1, 1), 0, 0, 11);
  ASSERT_EQ(one.size(), 11u);
  EXPECT_EQ(load(dataset, options_with(3, 4), 0, 0, 11), one);
  EXPECT_EQ(load(dataset, options_with(7, 2), 0, 0, 11), one);
}

TEST(Loader, StartsAtAnyStepOfAnyEpoch) {
  const FakeDataset dataset(50);  // four batches per epoch
  const Batches all = load(dataset, options_with(2, 3), 0, 0, 12);
  EXPECT_EQ(load(dataset, options_with(2, 3), 1, 2, 6), Batches(all.begin() + 6, all.end()));
  EXPECT_EQ(load(dataset, options_with(2, 3), 1, 4, 4), Batches(all.begin() + 8, all.end()));
}

TEST(Loader, RestartsAndStops) {
  const FakeDataset dataset(50);
  ShuffledSampler sampler(50, 12, 9);
  Loader loader(dataset, sampler, options_with(3, 4));
  loader.start(0, 0);
  const Batches first = take(loader, 3);
  loader.start(0, 0);
  EXPECT_EQ(take(loader, 3), first);
  loader.stop();
  loader.stop();
  loader.start(0, 1);
  EXPECT_EQ(take(loader, 1)[0], first[1]);
  EXPECT_GE(loader.seconds_waited(), 0);
}

TEST(Loader, DestructorNeedsNoConsumer) {
  const FakeDataset dataset(500);
  for (int i = 0; i < 30; ++i) {
    ShuffledSampler sampler(500, 12, 9);
    Loader loader(dataset, sampler, options_with(1 + i % 4, 1 + i % 3, {"weak"}));
    loader.start(0, 0);
    if (i % 2) loader.next();
  }
}

TEST(Loader, EndsAfterTheLastEpochWithAShortBatch) {
  const FakeDataset dataset(25);
  SequentialSampler sampler(25, 10);
  Loader loader(dataset, sampler, options_with(2, 2, {"eval"}));
  loader.start(0, 0, 0);
  std::vector<int64_t> seen;
  while (const Batch* batch = loader.next()) {
    seen.insert(seen.end(), batch->indices.begin(), batch->indices.end());
    for (size_t i = 0; i < batch->indices.size(); ++i) {
      ASSERT_EQ(batch->labels[i], dataset.label(batch->indices[i]));
      const ImageParams& p = batch->views[0].params[i];
      ASSERT_EQ(batch->views[0].pixels.at(size_t(p.offset)), uint8_t(batch->indices[i]));
      ASSERT_LE(p.offset + int64_t(p.source_h) * p.source_w * 3, int64_t(batch->views[0].pixels.size()));
    }
  }
  ASSERT_EQ(seen.size(), 25u);
  for (int64_t i = 0; i < 25; ++i) EXPECT_EQ(seen[size_t(i)], i);
  EXPECT_EQ(loader.next(), nullptr);
}

TEST(Loader, BrokenImagesAreReplacedByTheNextReadableOne) {
  const FakeDataset dataset(300, {5, 6, 299});
  std::vector<std::string> log;
  LoaderOptions options = options_with(3, 4);
  options.log = [&](const std::string& line) { log.push_back(line); };
  SequentialSampler sampler(300, 12);
  Loader loader(dataset, sampler, options);
  loader.start(0, 0, 1);
  int64_t batches = 0;
  while (const Batch* batch = loader.next()) {
    ++batches;
    for (const uint8_t valid : batch->valid) ASSERT_EQ(valid, 1);
    if (batch->number == 0) {
      EXPECT_EQ(batch->indices, (std::vector<int64_t>{0, 1, 2, 3, 4, 7, 7, 7, 8, 9, 10, 11}));
      EXPECT_EQ(batch->labels[5], dataset.label(7));
    }
    if (batch->number == 24) {
      EXPECT_EQ(batch->indices.back(), 0);
    }
  }
  EXPECT_EQ(batches, 50);
  EXPECT_EQ(loader.broken(), 3);
  ASSERT_EQ(log.size(), 3u);  // once per file, though each was met in both epochs
  for (const std::string& line : log) EXPECT_NE(line.find("image "), std::string::npos);
}

TEST(Loader, ReplacementDoesNotDependOnWorkers) {
  const FakeDataset dataset(300, {5, 6, 40});
  const Batches one = load(dataset, options_with(1, 1), 0, 0, 50);
  EXPECT_EQ(load(dataset, options_with(4, 4), 0, 0, 50), one);
}

TEST(Loader, BrokenImagesCanBeMarkedInstead) {
  const FakeDataset dataset(200, {3, 8});
  LoaderOptions options = options_with(2, 2, {"eval"});
  options.replace_broken = false;
  SequentialSampler sampler(200, 10);
  Loader loader(dataset, sampler, options);
  loader.start(0, 0, 0);
  const Batch* batch = loader.next();
  ASSERT_NE(batch, nullptr);
  EXPECT_EQ(batch->valid, (std::vector<uint8_t>{1, 1, 1, 0, 1, 1, 1, 1, 0, 1}));
  for (const size_t i : {size_t(3), size_t(8)}) {
    const ImageParams& p = batch->views[0].params[i];
    EXPECT_EQ(batch->indices[i], int64_t(i));
    EXPECT_EQ(batch->labels[i], dataset.label(int64_t(i)));
    EXPECT_TRUE(p.source_h == 1 && p.source_w == 1);
    for (size_t c = 0; c < 3; ++c) EXPECT_EQ(batch->views[0].pixels.at(size_t(p.offset) + c), 0);
  }
}

TEST(Loader, TooManyBrokenImagesStopTheRun) {
  const FakeDataset dataset(200, {3, 8, 11});
  ShuffledSampler sampler(200, 20, 1);
  Loader loader(dataset, sampler, options_with(2, 2, {"weak"}));
  loader.start(0, 0, 0);
  try {
    while (loader.next()) {
    }
    ADD_FAILURE() << "three of two hundred broken images were accepted";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("3 of 200"), std::string::npos) << error.what();
  }
  EXPECT_THROW(loader.next(), Error);
}

TEST(Loader, OtherErrorsReachTheConsumerInOrder) {
  const FakeDataset dataset(200, {}, 45);
  SequentialSampler sampler(200, 10);
  Loader loader(dataset, sampler, options_with(3, 4, {"weak"}));
  loader.start(0, 0);
  for (int i = 0; i < 4; ++i) ASSERT_NE(loader.next(), nullptr);
  try {
    loader.next();
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("on fire"), std::string::npos);
  }
}

TEST(Loader, ASamplerOfAnotherDatasetIsRefused) {
  const FakeDataset dataset(20);
  SequentialSampler sampler(40, 15);
  Loader loader(dataset, sampler, options_with(2, 2, {"weak"}));
  loader.start(0, 0);
  EXPECT_NE(loader.next(), nullptr);
  EXPECT_THROW(loader.next(), Error);
}

TEST(Loader, RepeatedImagesGetTheirOwnAugmentation) {
  const FakeDataset dataset(20);
  NeighborSampler sampler(std::vector<int32_t>(20, 4), 20, 5, 1, 1, 1);  // the neighbor of every image is image 4
  Loader loader(dataset, sampler, options_with(2, 2));
  loader.start(0, 0);
  std::set<std::vector<float>> draws;
  for (int step = 0; step < 4; ++step) {
    const Batch* batch = loader.next();
    for (size_t i = 1; i < 10; i += 2) {
      ASSERT_EQ(batch->indices[i], 4);
      const ImageParams& p = batch->views[0].params[i];
      draws.insert({float(p.source_h), float(p.source_w), p.brightness, p.blur_sigma, p.hue});
    }
  }
  EXPECT_GE(draws.size(), 19u);
}

// --- several views -----------------------------------------------------------------------------------------------

const std::vector<const char*> kThreeViews = {"moco_v2", "clip_cifar", "moco_v2"};

TEST(Loader, EachViewIsDrawnForItselfFromOneImage) {
  const FakeDataset dataset(50);
  ShuffledSampler sampler(50, 12, 9);
  LoaderOptions options = options_with(3, 2, kThreeViews);
  options.views[1].image_size = 40;
  Loader loader(dataset, sampler, options), one(dataset, sampler, options_with(2, 2));
  loader.start(1, 2);
  one.start(1, 2);
  const Batch *batch = loader.next(), *alone = one.next();
  ASSERT_EQ(batch->views.size(), 3u);
  EXPECT_EQ(batch->indices, alone->indices);
  EXPECT_EQ(batch->views[0].pixels, alone->views[0].pixels);  // a further view changes nothing in the first
  int64_t black = 0;
  for (uint32_t v = 0; v < 3; ++v) {
    const View& view = batch->views[v];
    ASSERT_EQ(view.params.size(), 12u);
    size_t used = 0;
    for (size_t i = 0; i < 12; ++i) {
      const int64_t index = batch->indices[i];
      const auto height = int32_t(20 + index % 5), width = int32_t(30 + index % 3);
      ImageParams drawn;
      const Region region = draw_augmentation(options.views[v].augmentation, options.views[v].image_size, 3, 1,
                                              uint64_t(index), v, height, width, drawn);
      const ImageParams& p = view.params[i];
      ASSERT_EQ(p.resize_h, v == 1 ? 40 : 16);
      ASSERT_EQ(p.blur_sigma, drawn.blur_sigma);
      ASSERT_EQ(p.flip, drawn.flip);
      ASSERT_EQ(size_t(p.offset), used);
      for (int32_t y = 0; y < region.h; ++y)
        for (int32_t x = 0; x < region.w; ++x)
          for (int32_t c = 0; c < 3; ++c, ++used) {
            const int32_t row = region.y + y, column = region.x + x;
            const bool inside = row >= 0 && column >= 0 && row < height && column < width;
            black += !inside;
            ASSERT_EQ(view.pixels.at(used), inside ? FakeDataset::level(index, row, column, c) : 0);
          }
    }
    EXPECT_EQ(view.pixels.size(), used);
  }
  EXPECT_GT(black, 0);
  EXPECT_NE(batch->views[0].pixels, batch->views[2].pixels);
}

TEST(Loader, ViewsDoNotDependOnWorkersOrTheStart) {
  const FakeDataset dataset(300, {5, 6, 40});
  const Batches all = load(dataset, options_with(1, 1, kThreeViews), 0, 0, 30);
  EXPECT_EQ(load(dataset, options_with(4, 3, kThreeViews), 0, 0, 30), all);
  EXPECT_EQ(load(dataset, options_with(3, 2, kThreeViews), 0, 20, 10), Batches(all.begin() + 20, all.end()));
}

TEST(Loader, ABrokenImageIsReplacedOrMarkedInAllViews) {
  const FakeDataset dataset(300, {5});
  for (const bool replace : {true, false}) {
    LoaderOptions options = options_with(2, 2, kThreeViews);
    options.replace_broken = replace;
    SequentialSampler sampler(300, 12);
    Loader loader(dataset, sampler, options);
    loader.start(0, 0, 0);
    const Batch* batch = loader.next();
    EXPECT_EQ(batch->indices[5], replace ? 6 : 5);
    EXPECT_EQ(batch->valid[5], replace);
    for (const View& view : batch->views) EXPECT_EQ(view.params[5].source_h == 1, !replace);
  }
}

TEST(Loader, RepeatedImagesDifferInEveryView) {
  const FakeDataset dataset(20);
  NeighborSampler sampler(std::vector<int32_t>(20, 4), 20, 5, 1, 1, 1);
  Loader loader(dataset, sampler, options_with(2, 2, {"moco_v2", "moco_v2"}));
  loader.start(0, 0);
  std::set<std::vector<float>> draws;
  const Batch* batch = loader.next();
  for (const View& view : batch->views)
    for (size_t i = 1; i < 10; i += 2) {
      const ImageParams& p = view.params[i];
      draws.insert({float(p.source_h), float(p.source_w), p.brightness, p.blur_sigma, p.hue});
    }
  EXPECT_GE(draws.size(), 9u);
}

TEST(Loader, RealFilesWithBrokenOnesAmongThem) {
  const std::string folder = scratch_folder();
  for (int i = 0; i < 8; ++i) write_file(folder + "/a/" + std::to_string(i) + ".jpg", jpeg_picture(60 + i, 50, i));
  auto cut_short = jpeg_picture(60, 50);
  cut_short.resize(cut_short.size() / 3);
  write_file(folder + "/b/cut.jpg", cut_short);
  write_file(folder + "/b/empty.jpg", {});
  write_text(folder + "/b/text.jpg", "not an image");
  write_file(folder + "/b/z.jpg", jpeg_picture(40, 40));
  const auto dataset = open_dataset(folder, Split::train);
  ASSERT_EQ(dataset->size(), 12);
  LoaderOptions options = options_with(3, 2, {"eval"});
  options.max_broken_share = 0.5;
  options.replace_broken = false;
  SequentialSampler sampler(12, 12);
  Loader loader(*dataset, sampler, options);
  loader.start(0, 0, 0);
  const Batch* batch = loader.next();
  ASSERT_NE(batch, nullptr);
  EXPECT_EQ(batch->valid, (std::vector<uint8_t>{1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1}));
  EXPECT_EQ(loader.broken(), 3);
}

}  // namespace
}  // namespace coss::test
