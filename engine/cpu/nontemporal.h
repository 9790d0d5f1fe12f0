// Non-temporal ("streaming") stores, which write past the caches: for outputs that are too large to stay in them.
#pragma once
#include "engine/cpu/simd.h"
#include "engine/tensor.h"

namespace coss::cpu {

// About what one core's share of the last-level cache holds beside the inputs.
constexpr size_t kStreamBytes = 24 << 20;

inline bool worth_streaming(const Tensor& y) {
  return y.bytes() >= kStreamBytes && y.shape().back() % kLanes == 0 && reinterpret_cast<uintptr_t>(y.raw()) % 64 == 0;
}

// put(), past the caches where `streaming`. Call stream_fence() after the last one.
template <class T>
inline void put_or_stream(T* p, Vec v, Whole, bool streaming) {
  if (streaming)
    stream(p, v);
  else
    store(p, v);
}
template <class T>
inline void put_or_stream(T* p, Vec v, int64_t n, bool) {
  store_part(p, v, n);
}

}  // namespace coss::cpu
