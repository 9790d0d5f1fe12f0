// Random tensors of the reference backend: element i takes word i % 4 of the Philox counter (stream, i / 4).
#include "engine/philox.h"
#include "tests/reference/access.h"

namespace coss::reference {

void random_uniform(Context&, uint64_t seed, uint64_t stream, float low, float high, Tensor& y) {
  for (int64_t i = 0; i < y.numel(); ++i) {
    const PhiloxWords words = draw_words(seed, stream, i / 4);
    out(y)[i] = double(low) + (double(high) - double(low)) * double(philox_uniform(words.word[i % 4]));
  }
}

// Box-Muller: elements 2j and 2j + 1 are the cosine and the sine of one pair of words.
void random_normal(Context&, uint64_t seed, uint64_t stream, float mean, float stddev, Tensor& y) {
  for (int64_t i = 0; i < y.numel(); ++i) {
    const PhiloxWords words = draw_words(seed, stream, i / 4);
    const int64_t pair = i % 4 / 2 * 2;
    const double u = 1.0 - double(philox_uniform(words.word[pair]));
    const double angle = 2 * M_PI * double(philox_uniform(words.word[pair + 1]));
    const double normal = std::sqrt(-2 * std::log(u)) * (i % 2 ? std::sin(angle) : std::cos(angle));
    out(y)[i] = double(mean) + double(stddev) * normal;
  }
}

}  // namespace coss::reference
