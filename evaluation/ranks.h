// The rank of a label among the scores of all classes.
#pragma once
#include <cmath>
#include <cstdint>
#include <limits>

namespace coss {

// How many classes come before the label, because their score is greater, or equal with a lower index. A score that is
// NaN comes before every other, and a label whose own score is NaN comes last, so that no NaN makes an answer right.
inline int64_t rank_of_label(const float* scores, int64_t classes, int32_t label) {
  if (std::isnan(scores[label])) return std::numeric_limits<int64_t>::max();
  int64_t rank = 0;
  for (int64_t c = 0; c < classes; ++c)
    rank += !(scores[c] <= scores[label]) || (scores[c] == scores[label] && c < label);
  return rank;
}

}  // namespace coss
