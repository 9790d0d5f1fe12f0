// Each class is permuted with a seed, and the first images of the permutation are held out.
#include "data/subset.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <unordered_map>
#include <unordered_set>

#include "engine/philox.h"

namespace coss {

namespace {

// A hash (FNV-1a) that is the same on every machine.
uint64_t number_of(const std::string& name) {
  uint64_t hash = 0xcbf29ce484222325ull;
  for (const char c : name) hash = (hash ^ uint8_t(c)) * 0x100000001b3ull;
  return hash;
}

int64_t count_held_out(size_t images, double share) {
  if (images < 2) return 0;
  return std::clamp<int64_t>(std::llround(share * double(images)), 1, int64_t(images) - 1);
}

// Paths of images with the links in their folders resolved, each folder once.
class RealPaths {
 public:
  std::string operator()(const std::string& name) {
    namespace fs = std::filesystem;
    const fs::path path(name);
    auto [known, fresh] = folders_.try_emplace(path.parent_path().string());
    if (fresh) {
      std::error_code error;
      fs::path real = fs::weakly_canonical(fs::absolute(path.parent_path(), error), error);
      known->second = error ? known->first : real.string();
    }
    return known->second + "/" + path.filename().string();
  }

 private:
  std::unordered_map<std::string, std::string> folders_;
};

}  // namespace

TrainAndTest hold_out(const std::shared_ptr<const Dataset>& all, double share, uint64_t seed) {
  COSS_ASSERT(share > 0 && share < 1);
  std::map<int32_t, std::vector<int64_t>> classes;
  for (int64_t i = 0; i < all->size(); ++i) classes[all->label(i)].push_back(i);
  const std::vector<std::string> names = all->class_names();
  std::vector<int64_t> train, test;
  for (auto& [label, images] : classes) {
    const uint64_t key = names.empty() ? uint64_t(label) : number_of(names[size_t(label)]);
    RandomStream random(seed, RandomUse::other, /*epoch=*/0, key);
    for (size_t i = images.size(); i-- > 1;) std::swap(images[i], images[random.below(uint32_t(i + 1))]);
    const auto border = images.begin() + count_held_out(images.size(), share);
    test.insert(test.end(), images.begin(), border);
    train.insert(train.end(), border, images.end());
  }
  std::sort(train.begin(), train.end());
  std::sort(test.begin(), test.end());
  return {std::make_unique<Subset>(all, std::move(train)), std::make_unique<Subset>(all, std::move(test))};
}

void check_apart(const Dataset& train, const Dataset& test) {
  RealPaths real;
  std::unordered_set<std::string> tested;
  for (int64_t i = 0; i < test.size(); ++i) tested.insert(real(test.name(i)));
  for (int64_t i = 0; i < train.size(); ++i)
    COSS_CHECK(!tested.count(real(train.name(i))),
               train.name(i) + " is a training image and a test image: take it out of one of the two");
}

void check_unique(const Dataset& dataset) {
  RealPaths real;
  std::unordered_set<std::string> seen;
  for (int64_t i = 0; i < dataset.size(); ++i)
    COSS_CHECK(
        seen.insert(real(dataset.name(i))).second,
        dataset.name(i) + " is in the data twice and could be both a training and a test image: take it out once");
}

}  // namespace coss
