// Dataset: images by index. Decoding gives only the region that is asked for, as packed 8-bit RGB.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
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
  virtual int32_t label(int64_t index) const = 0;     // -1 when there is none
  virtual int32_t classes() const = 0;                // 0 when there are no labels
  virtual std::string name(int64_t index) const = 0;  // a path, or "data_batch_1.bin[17]"
  // Calls choose(height, width) once the size is known and appends the pixels of the region it returns, (h,w,3) u8 RGB,
  // to `pixels`. Returns that region. Grayscale, CMYK, palette, alpha and 16-bit images are converted. Throws
  // BrokenImage. Safe to call from several threads.
  virtual Region read(int64_t index, const std::function<Region(int32_t height, int32_t width)>& choose,
                      std::vector<uint8_t>& pixels) const = 0;
};

enum class Split : uint8_t { train, test };

// Recognises the kind from the path: CIFAR-10/100 binaries (a folder with data_batch_*.bin or train.bin), a folder with
// train/ and val/ (or test/) folders of class folders, a folder of class folders, a flat folder of images (labels -1),
// or a list file (*.txt: "path[ label]" per line, relative to the list). Throws Error that says what was looked for.
std::unique_ptr<Dataset> open_dataset(const std::string& path, Split split);

}  // namespace coss
