// Which kind of data a path is.
#include "data/dataset.h"

#include <filesystem>

#include "data/cifar.h"
#include "data/image_files.h"

namespace coss {

namespace fs = std::filesystem;

std::unique_ptr<Dataset> open_dataset(const std::string& path, Split split) {
  std::error_code error;
  COSS_CHECK(fs::exists(path, error), "no data at " + path + ": there is no such file or folder");
  if (!fs::is_directory(path)) {
    COSS_CHECK(fs::is_regular_file(path) && fs::path(path).extension() == ".txt",
               path + " is not a data set: give a folder, or a list of images that ends in .txt");
    return open_image_list(path);
  }
  if (is_cifar_folder(path)) return open_cifar(path, split);
  auto dataset = open_image_folder(path, split);
  COSS_CHECK(dataset, "no images in " + path +
                          ". Looked for CIFAR binaries (data_batch_1.bin, train.bin), for train/ " +
                          "and val/ or test/, for class folders, and for files that end in jpg, jpeg, png, bmp, ppm " +
                          "or pgm");
  return dataset;
}

}  // namespace coss
