// Writing past the caches: for outputs so large that their reader would not find them there anyway.
#pragma once
#include "engine/cpu/simd.h"
#include "engine/tensor.h"

namespace coss::cpu {

// About what a core's share of the last cache holds next to the inputs.
constexpr size_t kStreamBytes = 24 << 20;

inline bool worth_streaming(const Tensor& y) {
  return y.bytes() >= kStreamBytes && y.shape().back() % kLanes == 0 && reinterpret_cast<uintptr_t>(y.raw()) % 64 == 0;
}

// put() that streams where asked to; stream_fence() after the last one.
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
