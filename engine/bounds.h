// Bounds of the numbers that users give, the same for keys of a recipe and options of a command. Most of them are far
// beyond what anybody needs: they keep sums and products of such numbers in range.
#pragma once
#include <fmt/format.h>

#include <string>

namespace coss {

struct Bounds {
  double least, most;
  // False for NaN.
  bool hold(double value) const { return value >= least && value <= most; }
  std::string str() const { return fmt::format("at least {:.10g} and at most {:.10g}", least, most); }
};

inline constexpr Bounds kThreadBounds{0, 1024};
inline constexpr Bounds kWorkerBounds{1, 1024};
inline constexpr Bounds kShareBounds{0, 1};
inline constexpr Bounds kImageSizeBounds{8, 4096};
inline constexpr Bounds kBatchBounds{1, 1e6};
inline constexpr Bounds kNeighborBounds{1, 1e6};
inline constexpr Bounds kClassBounds{0, 1 << 20};
inline constexpr Bounds kEpochBounds{0, 1e6};
inline constexpr Bounds kStepBounds{0, 1e12};
inline constexpr Bounds kRateBounds{0, 1e30};  // finite in fp32
// Pixels are between 0 and 1 before they are normalized.
inline constexpr Bounds kMeanBounds{-10, 10};
inline constexpr Bounds kStddevBounds{1e-3, 10};
// exp(1 / T) must stay finite in fp32.
inline constexpr Bounds kTemperatureBounds{0.012, 1000};
inline constexpr Bounds kGibibyteBounds{0.001, 1e6};

}  // namespace coss
