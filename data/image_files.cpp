// Image files by folder. Labels and order are those of torchvision's ImageFolder: classes are the sorted names of the
// folders, files are sorted by folder and then by name.
#include "data/image_files.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <set>

#include "data/decode.h"
#include "engine/text.h"

namespace coss {

namespace fs = std::filesystem;

namespace {

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
  ImageFileDataset(std::vector<ImageFile> files, int32_t classes, std::vector<std::string> class_names,
                   std::string notes)
      : files_(std::move(files)), classes_(classes), class_names_(std::move(class_names)), notes_(std::move(notes)) {}

  int64_t size() const override { return int64_t(files_.size()); }
  int32_t label(int64_t index) const override { return file(index).label; }
  int32_t classes() const override { return classes_; }
  std::vector<std::string> class_names() const override { return class_names_; }
  std::string notes() const override { return notes_; }
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
  std::string notes_;
};

// --- folders -------------------------------------------------------------------------------------------------------

// Files and folders that operating systems add.
bool is_system_folder(const std::string& name) {
  return name.starts_with(".") || name == "__MACOSX" || name == "@eaDir" || name == "lost+found" ||
         name == "$RECYCLE.BIN";
}

std::vector<fs::path> sub_folders(const fs::path& folder) {
  std::vector<fs::path> folders;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_directory() && !is_system_folder(entry.path().filename().string())) folders.push_back(entry.path());
  }
  std::sort(folders.begin(), folders.end(),
            [](const fs::path& a, const fs::path& b) { return a.filename().string() < b.filename().string(); });
  return folders;
}

// Whether a file with another extension is an image anyway. Text files are not opened.
bool is_image_by_content(const fs::path& path) {
  const std::string extension = path.extension().string();
  for (const char* text : {".txt", ".md", ".xml", ".json", ".csv", ".tsv", ".html", ".yaml", ".yml", ".log", ".py"})
    if (extension == text) return false;
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return false;
  uint8_t head[16] = {};
  std::ifstream stream(path, std::ios::binary);
  stream.read(reinterpret_cast<char*>(head), sizeof(head));
  return looks_like_image(head, size_t(stream.gcount()));
}

// The images of a folder, and counts of other files by their extension.
struct FolderFiles {
  std::vector<ImageFile> images;
  std::map<std::string, int64_t> left_out;

  std::string notes() const {
    std::string text;
    int64_t files = 0;
    for (const auto& [kind, count] : left_out) {
      text += (text.empty() ? "" : ", ") + std::to_string(count) + " " + kind;
      files += count;
    }
    return text.empty() ? "" : std::to_string(files) + " files are no images: " + text;
  }
};

class FolderReader {
 public:
  explicit FolderReader(FolderFiles& found) : found_(found) {}

  // Everything below the folder, also through links.
  bool read_below(const fs::path& folder, int32_t label) {
    constexpr int kDeepest = 64;  // a link to a parent folder would never end
    fs::recursive_directory_iterator entries(folder, fs::directory_options::follow_directory_symlink);
    for (; entries != fs::recursive_directory_iterator(); ++entries) {
      COSS_CHECK(entries.depth() < kDeepest, entries->path().string().substr(0, 1000) +
                                                 " is nested too deeply: does a link point to a folder above it?");
      if (!entries->is_directory()) {
        look_at(*entries);
      } else if (is_system_folder(entries->path().filename().string())) {
        entries.disable_recursion_pending();
      }
    }
    return take(label);
  }

  bool read_flat(const fs::path& folder) {
    for (const auto& entry : fs::directory_iterator(folder))
      if (!entry.is_directory()) look_at(entry);
    return take(-1);
  }

 private:
  void look_at(const fs::directory_entry& entry) {
    const fs::path& path = entry.path();
    const std::string name = path.filename().string();
    if (name.starts_with(".")) {
      ++found_.left_out[name.starts_with("._") ? "resource forks (._)" : "hidden"];
    } else if (is_image_name(path) || is_image_by_content(path)) {
      paths_.push_back(path);
    } else {
      const std::string extension = path.extension().string();
      ++found_.left_out[extension.empty() ? "without extension" : extension];
    }
  }

  bool take(int32_t label) {
    std::sort(paths_.begin(), paths_.end(), [](const fs::path& a, const fs::path& b) {
      const std::string left = a.parent_path().string(), right = b.parent_path().string();
      return left != right ? left < right : a.filename().string() < b.filename().string();
    });
    for (const fs::path& path : paths_) found_.images.push_back({path.string(), label});
    const bool any = !paths_.empty();
    paths_.clear();
    return any;
  }

  FolderFiles& found_;
  std::vector<fs::path> paths_;
};

std::unique_ptr<Dataset> open_folder(const fs::path& folder, const std::vector<std::string>& class_names,
                                     const std::string& split_notes) {
  FolderFiles found;
  FolderReader reader(found);
  std::vector<std::string> empty;
  for (const fs::path& sub : sub_folders(folder)) {
    const std::string name = sub.filename().string();
    const auto known = std::find(class_names.begin(), class_names.end(), name);
    COSS_CHECK(known != class_names.end(), sub.string() + " is a class that the training folder does not have");
    if (!reader.read_below(sub, int32_t(known - class_names.begin()))) empty.push_back(name);
  }
  const auto notes = [&] {
    const std::string of_files = found.notes();
    return split_notes + (split_notes.empty() || of_files.empty() ? "" : "; ") + of_files;
  };
  if (!found.images.empty()) {
    COSS_CHECK(empty.empty(), folder.string() + "/" + empty[0] + " holds no image: remove it, or put the class there");
    return make_image_files(std::move(found.images), int32_t(class_names.size()), class_names, notes());
  }
  if (!reader.read_flat(folder)) return nullptr;
  return make_image_files(std::move(found.images), 0, {}, notes());
}

std::vector<std::string> names_of(const std::vector<fs::path>& paths) {
  std::vector<std::string> names;
  for (const fs::path& path : paths) names.push_back(path.filename().string());
  return names;
}

// Where the images of a folder are. With an empty `train` all are in the folder itself; `test` may be missing.
struct Places {
  fs::path train, test;
  std::vector<fs::path> others;  // folders that are neither
};

constexpr const char* kTrainNames[] = {"train", "training"};
constexpr const char* kTestNames[] = {"val", "valid", "validation", "eval", "test", "testing"};

// The folders that have one of the names, in the order of the names.
template <size_t N>
std::vector<fs::path> called(const std::vector<fs::path>& folders, const char* const (&names)[N]) {
  std::vector<fs::path> found;
  for (const char* name : names)
    for (const fs::path& folder : folders)
      if (lower(folder.filename().string()) == name) found.push_back(folder);
  return found;
}

bool has_sub_folders(const fs::path& folder) { return !sub_folders(folder).empty(); }

Places places_in(const fs::path& folder) {
  Places places;
  const std::vector<fs::path> folders = sub_folders(folder);
  const std::vector<fs::path> train = called(folders, kTrainNames), test = called(folders, kTestNames);
  COSS_CHECK(train.size() < 2, folder.string() + " has both " + train[0].filename().string() + "/ and " +
                                   train[1].filename().string() +
                                   "/: which one holds the training images? Name it, or "
                                   "move the other away");
  if (train.empty()) {
    // A class may be called "test", but a folder of class folders is no class.
    const bool looks = std::any_of(test.begin(), test.end(), has_sub_folders);
    COSS_CHECK(!looks, folder.string() + " has " + test[0].filename().string() +
                           "/ with class folders in it, and no train/: name the folder of the images itself");
    return places;
  }
  if (test.empty() && folders.size() > 1) {
    COSS_CHECK(!has_sub_folders(train[0]),
               folder.string() + " has " + train[0].filename().string() +
                   "/ with class folders in it beside other folders, none of which is called val/ or test/: name the "
                   "folder of the images itself, or rename the test images' folder");
    return places;  // the folder is a class of that name
  }
  places.train = train[0];
  if (!test.empty()) places.test = test[0];
  for (const fs::path& other : folders)
    if (other != places.train && other != places.test) places.others.push_back(other);
  return places;
}

std::string notes_of(const Places& places) {
  if (places.others.empty()) return "";
  std::string text = "not used: ";
  for (const fs::path& other : places.others)
    text += (&other == &places.others.front() ? "" : ", ") + other.filename().string() + "/";
  return text + " (" + places.train.filename().string() + "/ has the training images, " +
         places.test.filename().string() + "/ the test images)";
}

std::unique_ptr<Dataset> open_split(const fs::path& folder, Split split, const std::vector<std::string>* class_names) {
  const Places places = places_in(folder);
  const fs::path train = places.train.empty() ? folder : places.train;
  COSS_CHECK(split == Split::train || places.train.empty() || !places.test.empty(),
             folder.string() + " has " + train.filename().string() + "/ but neither val/ nor test/");
  const bool is_test = split == Split::test && !places.train.empty();
  return open_folder(is_test ? places.test : train, class_names ? *class_names : names_of(sub_folders(train)),
                     notes_of(places));
}

}  // namespace

std::unique_ptr<Dataset> make_image_files(std::vector<ImageFile> files, int32_t classes,
                                          std::vector<std::string> class_names, std::string notes) {
  return std::make_unique<ImageFileDataset>(std::move(files), classes, std::move(class_names), std::move(notes));
}

bool is_image_name(const fs::path& path) {
  const std::string extension = lower(path.extension().string());
  for (const char* known : {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".gif", ".bmp", ".ppm",
                            ".pgm", ".pnm", ".avif", ".heic", ".heif"}) {
    if (extension == known) return true;
  }
  return false;
}

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
    return OwnSplit{places.train.filename().string() + "/", places.test.filename().string() + "/"};
  } catch (const fs::filesystem_error& error) {
    throw Error(folder + " cannot be read: " + error.what());
  }
}

}  // namespace coss
