// Counts NaN and infinity in values on the host.
#pragma once
#include <algorithm>
#include <bit>
#include <cstdint>

namespace coss {

struct NotFinite {
  int64_t count = 0, first = -1;  // how many, and the index of the first
};

// One pass in blocks tests the bits of the exponent. The compiler vectorizes it, and it costs little beside reading the
// values.
inline NotFinite not_finite(const float* values, int64_t count) {
  constexpr int64_t kBlock = 4096;
  constexpr uint32_t kMagnitude = 0x7fffffff, kInfinity = 0x7f800000;
  const auto is_bad = [&](int64_t i) { return (std::bit_cast<uint32_t>(values[i]) & kMagnitude) >= kInfinity; };
  NotFinite found;
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const int64_t end = std::min(begin + kBlock, count);
    uint32_t bad = 0;
    for (int64_t i = begin; i < end; ++i) bad += is_bad(i) ? 1u : 0u;
    if (bad > 0 && found.count == 0)
      for (found.first = begin; !is_bad(found.first);) ++found.first;
    found.count += bad;
  }
  return found;
}

}  // namespace coss
