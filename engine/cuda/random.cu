// Random tensors, the draws of engine/cpu/random.cpp: a thread turns each Philox counter into four elements. They are
// used when networks are made, so they are not tuned.
#include "engine/cuda/flat.h"
#include "engine/kernels.h"
#include "engine/philox.h"

namespace coss::cuda {

namespace {

template <bool kNormal>
struct Draw {
  static constexpr int kItems = kFlatItems<float>;  // one counter
  uint64_t seed, stream;
  float a, b;  // bounds, or mean and standard deviation
  float* y;
  struct Items {};
  bool aligned() const { return flat_aligned<kItems>(y); }
  template <bool kWhole>
  __device__ void read(int64_t, int, Items&) const {}
  template <bool kWhole>
  __device__ void write(int64_t i, int n, const Items&) const {
    const PhiloxWords words = draw_words(seed, stream, i / 4);
    float values[kItems];
    COSS_UNROLL
    for (int j = 0; j < 4; j += 2) {
      if constexpr (kNormal) {
        const NormalPair pair = draw_normal(a, b, words.word[j], words.word[j + 1]);
        values[j] = pair.cosine;
        values[j + 1] = pair.sine;
      } else {
        values[j] = draw_uniform(a, b, words.word[j]);
        values[j + 1] = draw_uniform(a, b, words.word[j + 1]);
      }
    }
    put<kWhole>(y + i, n, values);
  }
};

}  // namespace

void random_uniform(Context& ctx, uint64_t seed, uint64_t stream, float low, float high, Tensor& y) {
  if (y.numel() == 0) return;
  run_flat(ctx, "random_uniform", y.numel(), Draw<false>{seed, stream, low, high, y.mutable_data<float>()});
}

void random_normal(Context& ctx, uint64_t seed, uint64_t stream, float mean, float stddev, Tensor& y) {
  if (y.numel() == 0) return;
  run_flat(ctx, "random_normal", y.numel(), Draw<true>{seed, stream, mean, stddev, y.mutable_data<float>()});
}

}  // namespace coss::cuda
