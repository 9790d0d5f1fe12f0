// Datasets whose images are files: folders of class folders and flat folders.
#pragma once
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace coss {

struct ImageFile {
  std::string path;
  int32_t label = -1;
};
// A dataset of these files; `notes` is the result of Dataset::notes.
std::unique_ptr<Dataset> make_image_files(std::vector<ImageFile> files, int32_t classes,
                                          std::vector<std::string> class_names, std::string notes);

// A folder with a training and a test part, a folder of class folders, or a flat folder; null when there is no image.
// With `class_names` the label of an image is the index of its class in them; any other class is an Error.
// The parts are called train or training, and val, valid, validation, eval, test or testing, in upper or lower case. Of
// several test parts the first in this order counts. Error where a folder looks like a part but is none.
std::unique_ptr<Dataset> open_image_folder(const std::string& folder, Split split,
                                           const std::vector<std::string>* class_names = nullptr);
std::optional<OwnSplit> split_of_image_folder(const std::string& folder);

// Whether the extension belongs to an image format that coss reads.
bool is_image_name(const std::filesystem::path& path);

}  // namespace coss
