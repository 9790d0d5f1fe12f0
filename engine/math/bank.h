// CRD's contrast with memory banks: how the negatives of a row are drawn. They are images of other classes, drawn
// without repetition and without tables, the same on every device.
//
// The images of other classes are numbered 0 … count - 1, and draw j is the image permuted(j): a Feistel network over
// the next power of two whose keys come from Philox, applied again while it leads outside of the range (cycle walking),
// which is a permutation of the range itself.
#pragma once
#include "engine/philox.h"

namespace coss {

class NegativeDraw {
 public:
  // The images of the row's class are at [begin, end) in the order of all `images` by class.
  COSS_HOST_DEVICE NegativeDraw(uint64_t seed, int64_t step, int64_t row, int32_t begin, int32_t end, int32_t images)
      : begin_(uint32_t(begin)), own_(uint32_t(end - begin)), count_(uint32_t(images) - own_) {
    const uint64_t key = random_key(seed, RandomUse::draw);
    keys_ = philox(key, uint64_t(row), uint64_t(step) << 1);
    positive_ = philox(key, uint64_t(row), uint64_t(step) << 1 | 1).word[0];
    uint32_t bits = 1;
    while ((uint64_t(1) << bits) < count_) ++bits;
    low_bits_ = bits - bits / 2;
    low_mask_ = (1u << low_bits_) - 1;
    high_mask_ = (1u << bits / 2) - 1;
  }

  // How many images can be drawn. When more are drawn, they repeat in another order.
  COSS_HOST_DEVICE uint32_t count() const { return count_; }
  // The position of draw j in the order by class; count() > 0.
  COSS_HOST_DEVICE uint32_t place(uint32_t j) const {
    const uint32_t pass = j / count_;
    uint32_t x = j - pass * count_;
    do x = permuted(x, pass);
    while (x >= count_);
    return x < begin_ ? x : x + own_;
  }
  // An image of the row's class; it may be the row's own image.
  COSS_HOST_DEVICE uint32_t positive_place() const { return begin_ + uint32_t(uint64_t(positive_) * own_ >> 32); }

  // place() in parts, for vectors of draws: one step of the cycle walk, and what follows the last step. U: uint32_t or
  // a vector of them.
  template <class U>
  COSS_HOST_DEVICE U permuted(U x, uint32_t pass) const {
    U low = x & low_mask_, high = x >> low_bits_;
    for (uint32_t round = 0; round < 6; round += 2) {
      const uint32_t turn = (pass * 6 + round) * 0x9E3779B9u;
      high = high ^ (mixed<U>(low, keys_.word[round & 3] + turn) & high_mask_);
      low = low ^ (mixed<U>(high, keys_.word[(round & 3) + 1] + turn) & low_mask_);
    }
    return high << low_bits_ | low;
  }
  COSS_HOST_DEVICE uint32_t own_begin() const { return begin_; }
  COSS_HOST_DEVICE uint32_t own_count() const { return own_; }

 private:
  template <class U>
  COSS_HOST_DEVICE static U mixed(U x, uint32_t key) {
    U y = (x + key) * 0x85EBCA6Bu;
    y = (y ^ y >> 15) * 0xC2B2AE35u;
    return y ^ y >> 16;
  }

  PhiloxWords keys_;
  uint32_t positive_, begin_, own_, count_, low_bits_, low_mask_, high_mask_;
};

// Added to P + mu in the denominators, where P = exp(product / temperature) / constant and mu = negatives / images.
constexpr double kBankEps = 1e-7;

}  // namespace coss
