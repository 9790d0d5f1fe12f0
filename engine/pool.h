// A caching allocator: freed blocks are kept and given out again, so a training step stops asking the system for
// memory once every shape has been seen.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "engine/types.h"

namespace coss {

class Pool {
 public:
  explicit Pool(Device device) : device_(device) {}
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  ~Pool();

  // At least `bytes`, aligned to 256. Best fit among the freed blocks that waste at most an eighth, else new memory.
  // Throws Error when the system has no more.
  void* take(size_t bytes);
  void give(void* pointer);
  // Returns every freed block to the system.
  void trim();

  int64_t grown() const { return grown_; }             // how often memory was requested from the system
  size_t bytes_reserved() const { return reserved_; }  // held from the system
  size_t bytes_in_use() const { return in_use_; }      // given out now
  size_t bytes_peak() const { return peak_; }          // the most that was given out at one time
  void reset_peak() { peak_ = in_use_; }

 private:
  Device device_;
  std::mutex mutex_;
  std::multimap<size_t, void*> free_;
  std::unordered_map<void*, size_t> size_of_;
  int64_t grown_ = 0;
  size_t reserved_ = 0, in_use_ = 0, peak_ = 0;
};

}  // namespace coss
