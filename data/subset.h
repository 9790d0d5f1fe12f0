// Part of the images of another data set, and how a data set without a split of its own is divided.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace coss {

// The images of `all` with the indices `images`, in that order. Labels and classes are those of `all`.
class Subset : public Dataset {
 public:
  Subset(std::shared_ptr<const Dataset> all, std::vector<int64_t> images)
      : all_(std::move(all)), images_(std::move(images)) {}

  int64_t size() const override { return int64_t(images_.size()); }
  int32_t label(int64_t index) const override { return all_->label(at(index)); }
  int32_t classes() const override { return all_->classes(); }
  std::vector<std::string> class_names() const override { return all_->class_names(); }
  std::string notes() const override { return all_->notes(); }
  std::string name(int64_t index) const override { return all_->name(at(index)); }
  Region read(int64_t index, const std::function<Region(int32_t, int32_t)>& choose,
              std::vector<uint8_t>& pixels) const override {
    return all_->read(at(index), choose, pixels);
  }

 private:
  int64_t at(int64_t index) const {
    COSS_ASSERT(index >= 0 && index < size());
    return images_[size_t(index)];
  }
  std::shared_ptr<const Dataset> all_;
  std::vector<int64_t> images_;
};

// Holds out the share of each class, rounded, as test images: at least one where a class has two images or more, and
// never all of them. Images without labels are one class. The draw depends on the seed and the name of the class only
// (its label where it has no name), so other classes change nothing.
TrainAndTest hold_out(const std::shared_ptr<const Dataset>& all, double share, uint64_t seed);

// Throws an Error that names an image which is in both.
void check_apart(const Dataset& train, const Dataset& test);
// Throws an Error that names an image which a list has twice.
void check_unique(const Dataset& dataset);

}  // namespace coss
