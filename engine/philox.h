// Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): a counter-based generator.
// A draw depends only on (key, counter), so the order and number of threads, workers or devices change nothing.
#pragma once
#include <array>
#include <cmath>
#include <cstdint>

#ifdef __CUDACC__
#define COSS_HOST_DEVICE __host__ __device__
#else
#define COSS_HOST_DEVICE
#endif

namespace coss {

// Four 32-bit words for a 64-bit key and a 128-bit counter.
struct PhiloxWords {
  uint32_t word[4];
};

COSS_HOST_DEVICE inline PhiloxWords philox(uint64_t key, uint64_t counter_lo, uint64_t counter_hi = 0) {
  uint32_t c0 = uint32_t(counter_lo), c1 = uint32_t(counter_lo >> 32);
  uint32_t c2 = uint32_t(counter_hi), c3 = uint32_t(counter_hi >> 32);
  uint32_t k0 = uint32_t(key), k1 = uint32_t(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t(0xD2511F53u) * c0, p1 = uint64_t(0xCD9E8D57u) * c2;
    const uint32_t n0 = uint32_t(p1 >> 32) ^ c1 ^ k0, n2 = uint32_t(p0 >> 32) ^ c3 ^ k1;
    c1 = uint32_t(p1);
    c3 = uint32_t(p0);
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// [0, 1) with 24 random bits.
COSS_HOST_DEVICE inline float philox_uniform(uint32_t word) { return float(word >> 8) * 0x1p-24f; }

// The purpose of a stream of draws. Each purpose has its own counters, so no two draws ever share one.
enum class RandomUse : uint32_t { init, order, neighbors, augment, dropout, draw, other };
COSS_HOST_DEVICE inline uint64_t random_key(uint64_t seed, RandomUse use) {
  return seed ^ (uint64_t(use) + 1) * 0x9E3779B97F4A7C15ull;
}

// --- draws of the kernels, the same in every backend ---------------------------------------------------------------

// Random tensors: elements 4 * group .. 4 * group + 3 come from these words.
COSS_HOST_DEVICE inline PhiloxWords draw_words(uint64_t seed, uint64_t stream, int64_t group) {
  return philox(seed, uint64_t(group), stream);
}
// Dropout: element 4 * group + j is dropped where philox_uniform(word[j]) is below the rate.
COSS_HOST_DEVICE inline PhiloxWords dropout_words(uint64_t seed, uint32_t layer, int64_t step, int64_t group) {
  return philox(random_key(seed, RandomUse::dropout), uint64_t(group), uint64_t(step) << 32 | layer);
}

// Uniform in [low, high). It rounds once, so that no compiler's choice of instructions changes the value.
COSS_HOST_DEVICE inline float draw_uniform(float low, float high, uint32_t word) {
  return std::fma(high - low, philox_uniform(word), low);
}
// Box-Muller: the cosine and the sine of one pair of words.
struct NormalPair {
  float cosine, sine;
};
COSS_HOST_DEVICE inline NormalPair draw_normal(float mean, float stddev, uint32_t word, uint32_t next) {
  const float u = 1 - philox_uniform(word);
  const float angle = 6.28318530717958647692f * philox_uniform(next);
  const float radius = stddev * std::sqrt(-2 * std::log(u));
  return {std::fma(radius, std::cos(angle), mean), std::fma(radius, std::sin(angle), mean)};
}

// A sequential stream for host code: RandomStream(seed, RandomUse::augment, epoch, index, view).
class RandomStream {
 public:
  RandomStream(uint64_t seed, RandomUse use, uint64_t epoch = 0, uint64_t index = 0, uint32_t view = 0)
      : key_(random_key(seed, use) ^ (epoch + 1) * 0xD1B54A32D192ED03ull),
        counter_hi_(index),
        counter_lo_(uint64_t(view) << 40) {}

  uint32_t bits() {
    if (used_ == 4) {
      words_ = philox(key_, counter_lo_++, counter_hi_);
      used_ = 0;
    }
    return words_.word[used_++];
  }
  float uniform() { return philox_uniform(bits()); }                               // [0, 1)
  float uniform(float low, float high) { return low + (high - low) * uniform(); }  // [low, high)
  bool bernoulli(float probability) { return uniform() < probability; }
  // An integer in [0, n), n > 0, without modulo bias (rejection).
  uint32_t below(uint32_t n) {
    const uint32_t limit = uint32_t(-n) % n;  // 2^32 mod n
    for (;;) {
      const uint64_t product = uint64_t(bits()) * n;
      if (uint32_t(product) >= limit) return uint32_t(product >> 32);
    }
  }
  // Standard normal (Box-Muller, one of the pair).
  float normal() {
    const float u = 1.0f - uniform(), v = uniform();
    return std::sqrt(-2.0f * std::log(u)) * std::cos(6.28318530717958647692f * v);
  }

 private:
  uint64_t key_, counter_hi_, counter_lo_;
  PhiloxWords words_{};
  int used_ = 4;
};

}  // namespace coss
