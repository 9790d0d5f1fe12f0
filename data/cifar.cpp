// The CIFAR binaries, 30 or 150 MB, are held in memory as they are on disk. A read turns the planes into pixels.
#include "data/cifar.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace coss {

namespace fs = std::filesystem;

namespace {

constexpr int32_t kSide = 32;
constexpr int64_t kPlane = kSide * kSide;

// How CIFAR-10 and CIFAR-100 differ.
struct Version {
  int64_t label_bytes;  // CIFAR-100 has the coarse label, then the fine one, which is used
  int32_t classes;
  int64_t record() const { return label_bytes + 3 * kPlane; }
};
constexpr Version kCifar10{1, 10}, kCifar100{2, 100};

struct File {
  std::string name;
  int64_t first = 0;  // index of its first record
  std::vector<uint8_t> bytes;
};

class CifarDataset : public Dataset {
 public:
  CifarDataset(const Version& version, std::vector<File> files) : version_(version), files_(std::move(files)) {
    for (File& file : files_) {
      file.first = size_;
      size_ += int64_t(file.bytes.size()) / version_.record();
    }
  }

  int64_t size() const override { return size_; }
  int32_t label(int64_t index) const override { return record(index)[version_.label_bytes - 1]; }
  int32_t classes() const override { return version_.classes; }
  std::string name(int64_t index) const override {
    const File& file = file_of(index);
    return file.name + "[" + std::to_string(index - file.first) + "]";
  }

  Region read(int64_t index, const std::function<Region(int32_t, int32_t)>& choose,
              std::vector<uint8_t>& pixels) const override {
    const Region region = choose(kSide, kSide);
    COSS_ASSERT(region.y >= 0 && region.x >= 0 && region.y + region.h <= kSide && region.x + region.w <= kSide);
    const uint8_t* planes = record(index) + version_.label_bytes;
    const size_t before = pixels.size();
    pixels.resize(before + size_t(region.h) * size_t(region.w) * 3);
    uint8_t* out = pixels.data() + before;
    for (int32_t y = region.y; y < region.y + region.h; ++y) {
      const uint8_t* row = planes + y * kSide + region.x;
      for (int32_t x = 0; x < region.w; ++x, out += 3) {
        out[0] = row[x];
        out[1] = row[x + kPlane];
        out[2] = row[x + 2 * kPlane];
      }
    }
    return region;
  }

 private:
  const File& file_of(int64_t index) const {
    COSS_ASSERT(index >= 0 && index < size_);
    auto after = std::upper_bound(files_.begin(), files_.end(), index,
                                  [](int64_t wanted, const File& file) { return wanted < file.first; });
    return *(after - 1);
  }
  const uint8_t* record(int64_t index) const {
    const File& file = file_of(index);
    return file.bytes.data() + (index - file.first) * version_.record();
  }

  Version version_;
  std::vector<File> files_;
  int64_t size_ = 0;
};

File read_file(const fs::path& path, const Version& version) {
  std::ifstream stream(path, std::ios::binary);
  COSS_CHECK(stream, path.string() + " cannot be opened: download the CIFAR binary version again");
  File file{path.filename().string(), 0, {}};
  const auto size = int64_t(fs::file_size(path));
  COSS_CHECK(size > 0 && size % version.record() == 0,
             path.string() + " has " + std::to_string(size) + " bytes, which is no multiple of the " +
                 std::to_string(version.record()) + " of a record: it is cut short, download it again");
  file.bytes.resize(size_t(size));
  stream.read(reinterpret_cast<char*>(file.bytes.data()), size);
  COSS_CHECK(stream.gcount() == size, path.string() + " could not be read to its end");
  for (int64_t at = version.label_bytes - 1; at < size; at += version.record()) {
    const int32_t label = file.bytes[size_t(at)];
    COSS_CHECK(label < version.classes, path.string() + ": record " + std::to_string(at / version.record()) +
                                            " has label " + std::to_string(label) + " of " +
                                            std::to_string(version.classes) +
                                            " classes: it is damaged, download it again");
  }
  return file;
}

std::string batch_name(int number) { return "data_batch_" + std::to_string(number) + ".bin"; }

// data_batch_1.bin to the last one that exists. A gap is an error, because a download may have stopped there.
std::vector<fs::path> batches_of(const fs::path& folder) {
  std::vector<fs::path> paths;
  for (int number = 1; number <= 5; ++number) {
    if (!fs::is_regular_file(folder / batch_name(number))) continue;
    COSS_CHECK(int(paths.size()) == number - 1, folder.string() + " has " + batch_name(number) + " but lacks " +
                                                    batch_name(int(paths.size()) + 1) + ": download it again");
    paths.push_back(folder / batch_name(number));
  }
  return paths;
}

bool is_cifar10(const fs::path& folder) {
  return fs::is_regular_file(folder / "test_batch.bin") || !batches_of(folder).empty();
}

}  // namespace

bool is_cifar_folder(const std::string& folder) {
  const fs::path path(folder);
  return is_cifar10(path) || fs::is_regular_file(path / "train.bin") || fs::is_regular_file(path / "test.bin");
}

OwnSplit split_of_cifar(const std::string& folder) {
  return is_cifar10(folder) ? OwnSplit{"data_batch_*.bin", "test_batch.bin"} : OwnSplit{"train.bin", "test.bin"};
}

std::unique_ptr<Dataset> open_cifar(const std::string& folder, Split split) {
  const fs::path path(folder);
  const bool ten = is_cifar10(path), train = split == Split::train;
  std::vector<fs::path> paths;
  if (ten && train) {
    paths = batches_of(path);
  } else {
    paths.push_back(path / (ten ? "test_batch.bin" : train ? "train.bin" : "test.bin"));
  }
  COSS_CHECK(!paths.empty() && fs::is_regular_file(paths[0]),
             folder + " is a CIFAR folder but lacks " + (paths.empty() ? batch_name(1) : paths[0].filename().string()) +
                 ": put the files of the binary version there");
  std::vector<File> files;
  for (const fs::path& file : paths) files.push_back(read_file(file, ten ? kCifar10 : kCifar100));
  return std::make_unique<CifarDataset>(ten ? kCifar10 : kCifar100, std::move(files));
}

}  // namespace coss
