// Datasets whose images are files: folders of class folders, flat folders and lists.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace coss {

// A folder with train/ and val/ (or test/), a folder of class folders, or a flat folder; null when there is no image.
// With `class_names` the label of an image is the index of its class in them; any other class is an Error.
std::unique_ptr<Dataset> open_image_folder(const std::string& folder, Split split,
                                           const std::vector<std::string>* class_names = nullptr);
std::optional<OwnSplit> split_of_image_folder(const std::string& folder);
// "path[ label]" per line, relative to the list.
std::unique_ptr<Dataset> open_image_list(const std::string& list);

}  // namespace coss
