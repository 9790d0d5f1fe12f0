// Random tensors: element i comes from word i % 4 of the Philox counter (stream, i / 4), for any number of threads.
#include "engine/cpu/parallel.h"
#include "engine/kernels.h"
#include "engine/philox.h"

namespace coss::cpu {

namespace {

// to_four(words, values) turns the four words of a counter into four elements.
template <class ToFour>
void draw(uint64_t seed, uint64_t stream, Tensor& y, ToFour&& to_four) {
  float* out = y.mutable_data<float>();
  parallel_ranges(y.numel(), 4, 32, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += 4) {
      float values[4];
      to_four(draw_words(seed, stream, i / 4), values);
      std::copy_n(values, std::min<int64_t>(4, end - i), out + i);
    }
  });
}

}  // namespace

void random_uniform(Context&, uint64_t seed, uint64_t stream, float low, float high, Tensor& y) {
  draw(seed, stream, y, [=](const PhiloxWords& words, float* values) {
    for (int j = 0; j < 4; ++j) values[j] = draw_uniform(low, high, words.word[j]);
  });
}

void random_normal(Context&, uint64_t seed, uint64_t stream, float mean, float stddev, Tensor& y) {
  draw(seed, stream, y, [=](const PhiloxWords& words, float* values) {
    for (int j = 0; j < 4; j += 2) {
      const NormalPair pair = draw_normal(mean, stddev, words.word[j], words.word[j + 1]);
      values[j] = pair.cosine;
      values[j + 1] = pair.sine;
    }
  });
}

}  // namespace coss::cpu
