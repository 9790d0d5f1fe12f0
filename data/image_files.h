// Datasets whose images are files: folders of class folders, flat folders and lists.
#pragma once
#include <memory>
#include <string>

#include "data/dataset.h"

namespace coss {

// A folder with train/ and val/ (or test/), a folder of class folders, or a flat folder; null when there is no image.
std::unique_ptr<Dataset> open_image_folder(const std::string& folder, Split split);
// "path[ label]" per line, relative to the list.
std::unique_ptr<Dataset> open_image_list(const std::string& list);

}  // namespace coss
