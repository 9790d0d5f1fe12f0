// What the losses over relations between rows have in common on every device.
#pragma once

namespace coss {

// A squared distance, from inner products, of less than this share of the vectors' squared lengths is their rounding:
// the vectors count as equal.
constexpr float kSmallestSquareShare = 1e-6f;
// Distances are clamped there: the square root of the 1e-12 of RKD's program.
constexpr float kShortestDistance = 1e-6f;

}  // namespace coss
