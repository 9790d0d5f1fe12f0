// Image files by folder or by list. Labels and order are those of torchvision's ImageFolder: classes are the sorted
// names of the folders, files are sorted by folder and then by name.
#include "data/image_files.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <optional>

#include "data/decode.h"

namespace coss {

namespace fs = std::filesystem;

namespace {

struct ImageFile {
  std::string path;
  int32_t label = -1;
};

// No image is larger than this; reading a device might never end.
constexpr uintmax_t kMostBytes = uintmax_t(1) << 30;

std::vector<uint8_t> read_image_file(const std::string& path) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) throw BrokenImage(path + ": there is no such file");
  const uintmax_t size = fs::file_size(path, error);
  if (error || size > kMostBytes) throw BrokenImage(path + ": larger than 1 GiB");
  std::vector<uint8_t> bytes(static_cast<size_t>(size));
  std::ifstream stream(path, std::ios::binary);
  stream.read(reinterpret_cast<char*>(bytes.data()), std::streamsize(size));
  if (!stream || uintmax_t(stream.gcount()) != size) throw BrokenImage(path + ": cannot be read");
  return bytes;
}

class ImageFileDataset : public Dataset {
 public:
  ImageFileDataset(std::vector<ImageFile> files, int32_t classes, std::vector<std::string> class_names = {})
      : files_(std::move(files)), classes_(classes), class_names_(std::move(class_names)) {}

  int64_t size() const override { return int64_t(files_.size()); }
  int32_t label(int64_t index) const override { return file(index).label; }
  int32_t classes() const override { return classes_; }
  std::vector<std::string> class_names() const override { return class_names_; }
  std::string name(int64_t index) const override { return file(index).path; }
  Region read(int64_t index, const std::function<Region(int32_t, int32_t)>& choose,
              std::vector<uint8_t>& pixels) const override {
    const std::string& path = file(index).path;
    return decode_image({path, read_image_file(path)}, choose, pixels);
  }

 private:
  const ImageFile& file(int64_t index) const {
    COSS_ASSERT(index >= 0 && index < size());
    return files_[size_t(index)];
  }
  std::vector<ImageFile> files_;
  int32_t classes_;
  std::vector<std::string> class_names_;
};

// --- folders -------------------------------------------------------------------------------------------------------

bool is_image_name(const fs::path& path) {
  std::string extension = path.extension().string();
  for (char& c : extension) c = char(std::tolower(static_cast<unsigned char>(c)));
  for (const char* known : {".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm"}) {
    if (extension == known) return true;
  }
  return false;
}

std::vector<fs::path> sub_folders(const fs::path& folder) {
  std::vector<fs::path> folders;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_directory() && !entry.path().filename().string().starts_with(".")) folders.push_back(entry.path());
  }
  std::sort(folders.begin(), folders.end(),
            [](const fs::path& a, const fs::path& b) { return a.filename().string() < b.filename().string(); });
  return folders;
}

template <class Iterator>
std::vector<ImageFile> sorted_images(Iterator entries, int32_t label) {
  std::vector<fs::path> paths;
  for (const auto& entry : entries) {
    if (is_image_name(entry.path()) && !entry.is_directory()) paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end(), [](const fs::path& a, const fs::path& b) {
    const std::string left = a.parent_path().string(), right = b.parent_path().string();
    return left != right ? left < right : a.filename().string() < b.filename().string();
  });
  std::vector<ImageFile> files;
  for (const fs::path& path : paths) files.push_back({path.string(), label});
  return files;
}

// Everything below the folder, also through links.
std::vector<ImageFile> images_below(const fs::path& folder, int32_t label) {
  return sorted_images(fs::recursive_directory_iterator(folder, fs::directory_options::follow_directory_symlink),
                       label);
}

std::unique_ptr<Dataset> open_folder(const fs::path& folder, const std::vector<std::string>& class_names) {
  std::vector<ImageFile> files;
  std::vector<std::string> empty;
  const std::vector<fs::path> folders = sub_folders(folder);
  for (const fs::path& sub : folders) {
    const std::string name = sub.filename().string();
    const auto known = std::find(class_names.begin(), class_names.end(), name);
    COSS_CHECK(known != class_names.end(), sub.string() + " is a class that the training folder does not have");
    const std::vector<ImageFile> found = images_below(sub, int32_t(known - class_names.begin()));
    if (found.empty()) empty.push_back(name);
    files.insert(files.end(), found.begin(), found.end());
  }
  if (!files.empty()) {
    COSS_CHECK(empty.empty(), folder.string() + "/" + empty[0] + " holds no image: remove it, or put the class there");
    return std::make_unique<ImageFileDataset>(std::move(files), int32_t(class_names.size()), class_names);
  }
  files = sorted_images(fs::directory_iterator(folder), -1);
  if (files.empty()) return nullptr;
  return std::make_unique<ImageFileDataset>(std::move(files), 0);
}

std::vector<std::string> names_of(const std::vector<fs::path>& paths) {
  std::vector<std::string> names;
  for (const fs::path& path : paths) names.push_back(path.filename().string());
  return names;
}

// Where the images of a folder are. With an empty `train` all are in the folder itself; `test` may be missing.
struct Places {
  fs::path train, test;
};

Places places_in(const fs::path& folder) {
  Places places;
  if (!fs::is_directory(folder / "train")) return places;
  for (const char* name : {"val", "test"}) {
    if (places.test.empty() && fs::is_directory(folder / name)) places.test = folder / name;
  }
  // A lone "train" beside other folders is a class of that name.
  if (!places.test.empty() || sub_folders(folder).size() == 1) places.train = folder / "train";
  return places;
}

std::unique_ptr<Dataset> open_split(const fs::path& folder, Split split, const std::vector<std::string>* class_names) {
  const Places places = places_in(folder);
  const fs::path train = places.train.empty() ? folder : places.train;
  COSS_CHECK(split == Split::train || places.train.empty() || !places.test.empty(),
             folder.string() + " has train/ but neither val/ nor test/");
  const bool is_test = split == Split::test && !places.train.empty();
  return open_folder(is_test ? places.test : train, class_names ? *class_names : names_of(sub_folders(train)));
}

// --- lists ---------------------------------------------------------------------------------------------------------

constexpr int32_t kMostClasses = 1 << 20;

std::optional<int64_t> whole_number(const std::string& text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || end != text.data() + text.size()) return std::nullopt;
  if (error != std::errc()) return int64_t(kMostClasses);
  return value;
}

// Path and label of one line; the label is the last word if that is a number and a path precedes it.
ImageFile parse_line(const std::string& line, const fs::path& folder, const std::string& where) {
  COSS_CHECK(line.find('\0') == std::string::npos, where + " is not text: a list has one \"path[ label]\" per line");
  ImageFile file;
  std::string path = line;
  const size_t space = line.find_last_of(" \t");
  if (space != std::string::npos) {
    if (const auto label = whole_number(line.substr(space + 1))) {
      COSS_CHECK(*label >= 0 && *label < kMostClasses, where + ": the label " + line.substr(space + 1) +
                                                           " is not in [0, " + std::to_string(kMostClasses) + ")");
      file.label = int32_t(*label);
      path = line.substr(0, line.find_last_not_of(" \t", space) + 1);
    }
  }
  file.path = (folder / path).string();  // an absolute path stays as it is
  return file;
}

}  // namespace

std::unique_ptr<Dataset> open_image_folder(const std::string& folder, Split split,
                                           const std::vector<std::string>* class_names) {
  try {
    return open_split(folder, split, class_names);
  } catch (const fs::filesystem_error& error) {
    throw Error(folder + " cannot be read: " + error.what());
  }
}

std::optional<OwnSplit> split_of_image_folder(const std::string& folder) {
  try {
    const Places places = places_in(folder);
    if (places.train.empty() || places.test.empty()) return std::nullopt;
    return OwnSplit{"train/", places.test.filename().string() + "/"};
  } catch (const fs::filesystem_error& error) {
    throw Error(folder + " cannot be read: " + error.what());
  }
}

std::unique_ptr<Dataset> open_image_list(const std::string& list) {
  std::ifstream stream(list, std::ios::binary);
  COSS_CHECK(stream, list + " cannot be opened");
  const fs::path folder = fs::path(list).parent_path();
  std::vector<ImageFile> files;
  int32_t classes = 0;
  std::string line;
  for (int64_t number = 1; std::getline(stream, line); ++number) {
    const size_t last = line.find_last_not_of(" \t\r");
    if (last == std::string::npos) continue;
    line.resize(last + 1);
    const std::string where = list + ":" + std::to_string(number);
    files.push_back(parse_line(line, folder, where));
    COSS_CHECK((files.back().label < 0) == (files.front().label < 0),
               where + ": give every line a label or none; the first line and this one differ");
    classes = std::max(classes, files.back().label + 1);
  }
  COSS_CHECK(!files.empty(), list + " is empty: a list has one \"path[ label]\" per line");
  return std::make_unique<ImageFileDataset>(std::move(files), classes);
}

}  // namespace coss
