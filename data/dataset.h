// Dataset: images by index. Decoding gives only the requested region, as packed 8-bit RGB.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/check.h"

namespace coss {

struct Region {
  int32_t y = 0, x = 0, h = 0, w = 0;
};

// A file that cannot be decoded; what() names it. The loader counts, logs and skips these.
struct BrokenImage : Error {
  using Error::Error;
};

class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual int64_t size() const = 0;
  virtual int32_t label(int64_t index) const = 0;  // -1 when there is none
  virtual int32_t classes() const = 0;             // 0 when there are no labels
  // The names of the classes 0, 1, ...; empty where a list file numbers them, or where there are no labels.
  virtual std::vector<std::string> class_names() const { return {}; }
  // Says to users what of the path was left out or could be misread; empty if there is nothing to say.
  virtual std::string notes() const { return {}; }
  virtual std::string name(int64_t index) const = 0;  // a path, or "data_batch_1.bin[17]"
  // Calls choose(height, width) once the size is known and appends the pixels of the region it returns, (h,w,3) u8 RGB,
  // to `pixels`. Returns that region. Grayscale, CMYK, palette, alpha and 16-bit images are converted. Throws
  // BrokenImage. Safe to call from several threads.
  virtual Region read(int64_t index, const std::function<Region(int32_t height, int32_t width)>& choose,
                      std::vector<uint8_t>& pixels) const = 0;
};

enum class Split : uint8_t { train, test };

// Recognizes the kind from the path: CIFAR-10/100 binaries (a folder with data_batch_*.bin or train.bin), a folder with
// train/ and val/ (or test/) folders of class folders, a folder of class folders, a flat folder of images (labels -1),
// or a list file (data/image_list.h). Throws Error that says what was looked for.
// Data without a split of its own gives the same images for both splits: call has_test_images() before grading.
std::unique_ptr<Dataset> open_dataset(const std::string& path, Split split);

// The names of the parts of data that has a split of its own, such as "train/" and "val/".
struct OwnSplit {
  std::string train, test;
};
std::optional<OwnSplit> own_split(const std::string& path);

// Data, and where its test images come from if it has no split of its own: set one of `test` and `held_out`.
struct DataSource {
  std::string path;
  std::string test = {};  // another data set; its own test part if it has a split
  double held_out = 0;    // share of each class of `path`, above 0 and below 1; see data/subset.h
  uint64_t seed = 0;      // chooses the images that are held out
};
bool has_test_images(const DataSource& source);
struct TrainAndTest {
  std::unique_ptr<Dataset> train, test;
};
// Opens both parts and reads each once.
// Throws Error where the data has a split of its own and another one is asked for, where labels of the two parts do not
// mean the same, and where an image is in both.
TrainAndTest open_both(const DataSource& source);
// Opens one of them.
std::unique_ptr<Dataset> open_dataset(const DataSource& source, Split split);

}  // namespace coss
