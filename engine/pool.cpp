// Freed blocks are kept, and given out again for requests of about the same size.
#include "engine/pool.h"

#include <algorithm>

#include "engine/kernels.h"

namespace coss {

namespace {
constexpr size_t kAlignment = 256;
}  // namespace

Pool::~Pool() {
  for (auto& [pointer, bytes] : size_of_) kernels(device_).release(pointer);
}

void* Pool::take(size_t bytes) {
  bytes = (std::max<size_t>(bytes, 1) + kAlignment - 1) / kAlignment * kAlignment;
  const std::lock_guard lock(mutex_);
  void* pointer = nullptr;
  auto it = free_.lower_bound(bytes);
  if (it != free_.end() && it->first <= bytes + bytes / 8 + kAlignment) {
    pointer = it->second;
    free_.erase(it);
  } else {
    kernels(device_).allocate(bytes, &pointer);
    if (!pointer) {  // give the cache back and try once more
      for (auto& [size, block] : free_) {
        kernels(device_).release(block);
        size_of_.erase(block);
        reserved_ -= size;
      }
      free_.clear();
      kernels(device_).allocate(bytes, &pointer);
    }
    COSS_CHECK(pointer, std::string("out of memory on ") + name_of(device_) + ": " + std::to_string(bytes >> 20) +
                            " MiB requested, " + std::to_string(in_use_ >> 20) +
                            " MiB in use: lower train.batch, or raise train.accumulate (--batch for other commands)");
    size_of_[pointer] = bytes;
    reserved_ += bytes;
    ++grown_;
  }
  in_use_ += size_of_[pointer];
  peak_ = std::max(peak_, in_use_);
  return pointer;
}

void Pool::give(void* pointer) {
  const std::lock_guard lock(mutex_);
  const size_t bytes = size_of_.at(pointer);
  free_.emplace(bytes, pointer);
  in_use_ -= bytes;
}

void Pool::trim() {
  const std::lock_guard lock(mutex_);
  for (auto& [bytes, pointer] : free_) {
    kernels(device_).release(pointer);
    size_of_.erase(pointer);
    reserved_ -= bytes;
  }
  free_.clear();
}

}  // namespace coss
