// Scratch memory of one kernel: the context's workspace, cut into arrays.
#pragma once
#include "engine/check.h"
#include "engine/context.h"

namespace coss::cpu {

class Scratch {
 public:
  Scratch(Context& ctx, size_t bytes) : next_(static_cast<char*>(ctx.workspace(bytes))), end_(next_ + bytes) {}
  template <class T>
  T* take(int64_t count) {
    char* place = next_;
    next_ += size_of<T>(count);
    COSS_ASSERT(next_ <= end_);
    return reinterpret_cast<T*>(place);
  }
  template <class T>
  static size_t size_of(int64_t count) {
    return (size_t(count) * sizeof(T) + 63) / 64 * 64;
  }

 private:
  char *next_, *end_;
};

}  // namespace coss::cpu
