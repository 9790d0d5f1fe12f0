// Decides which kind of data a path is, and where its test images come from.
#include "data/dataset.h"

#include <filesystem>

#include "data/cifar.h"
#include "data/image_files.h"
#include "data/image_list.h"
#include "data/subset.h"

namespace coss {

namespace fs = std::filesystem;

namespace {

// Opens test images that are not beside the training images but have the same labels.
std::unique_ptr<Dataset> open_test_images(const std::string& path, const std::string& train_path,
                                          const Dataset& train) {
  std::error_code ignored;  // the files that are missing are named when they are opened
  COSS_CHECK(!fs::equivalent(path, train_path, ignored),
             path + " holds the training images: give other images as test images");
  const std::vector<std::string> names = train.class_names();
  const bool is_folder = fs::is_directory(path, ignored) && !is_cifar_folder(path);
  std::unique_ptr<Dataset> test;
  if (is_folder && !names.empty()) {
    test = open_image_folder(path, Split::test, &names);
  } else if (!names.empty() && fs::is_regular_file(path, ignored) && is_list_name(path)) {
    test = open_image_list(path, &names);
  } else {
    test = open_dataset(path, Split::test);
  }
  COSS_CHECK(test, "no images in " + path);
  COSS_CHECK(train.classes() > 0, train_path + " has no labels to compare with");
  COSS_CHECK(test->classes() > 0, path + " has no labels to compare with");
  COSS_CHECK(names.empty() == test->class_names().empty(),
             "the classes of " + (names.empty() ? path : train_path) + " are folders with names, those of " +
                 (names.empty() ? train_path : path) +
                 " are numbers, and nothing says which is which: give class folders for both, or lists for both");
  COSS_CHECK(test->classes() <= train.classes(),
             path + " has labels up to " + std::to_string(test->classes() - 1) + ", the training images of " +
                 train_path + " only up to " + std::to_string(train.classes() - 1) + ": use the same labels in both");
  return test;
}

}  // namespace

std::unique_ptr<Dataset> open_dataset(const std::string& path, Split split) {
  std::error_code error;
  COSS_CHECK(fs::exists(path, error), "no data at " + path + ": there is no such file or folder");
  if (!fs::is_directory(path)) {
    COSS_CHECK(fs::is_regular_file(path) && is_list_name(path),
               path + " is not a data set: give a folder, or a list of images that ends in .txt, .lst, .csv or .tsv");
    return open_image_list(path);
  }
  if (is_cifar_folder(path)) return open_cifar(path, split);
  auto dataset = open_image_folder(path, split);
  COSS_CHECK(dataset,
             "no images in " + path + ". Looked for CIFAR binaries (data_batch_1.bin, train.bin), for train/ " +
                 "and val/ or test/, for class folders, and for images (jpg, png, webp, tiff, gif, bmp, ppm, " +
                 "pgm, avif, heic)");
  return dataset;
}

std::optional<OwnSplit> own_split(const std::string& path) {
  std::error_code ignored;
  if (!fs::is_directory(path, ignored)) return std::nullopt;
  return is_cifar_folder(path) ? split_of_cifar(path) : split_of_image_folder(path);
}

bool has_test_images(const DataSource& source) {
  return !source.test.empty() || source.held_out > 0 || own_split(source.path);
}

TrainAndTest open_both(const DataSource& source) {
  COSS_ASSERT(source.test.empty() || source.held_out == 0);
  if (source.test.empty() && source.held_out == 0)
    return {open_dataset(source.path, Split::train), open_dataset(source.path, Split::test)};
  if (const auto own = own_split(source.path))
    throw Error(source.path + " has test images of its own (" + own->train + " and " + own->test + "): leave out " +
                (source.test.empty() ? "--split or data.split" : "--test or data.test"));
  TrainAndTest both;
  if (source.held_out > 0) {
    both = hold_out(open_dataset(source.path, Split::train), source.held_out, source.seed);
    COSS_CHECK(both.test->size() > 0, "no class of " + source.path + " has two images, so that none can be held out");
  } else {
    both.train = open_dataset(source.path, Split::train);
    both.test = open_test_images(source.test, source.path, *both.train);
  }
  check_apart(*both.train, *both.test);
  return both;
}

std::unique_ptr<Dataset> open_dataset(const DataSource& source, Split split) {
  if (source.test.empty() && source.held_out == 0) return open_dataset(source.path, split);
  TrainAndTest both = open_both(source);
  return std::move(split == Split::train ? both.train : both.test);
}

}  // namespace coss
