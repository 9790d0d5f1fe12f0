// The box of CutMix (Yun et al., ICCV 2019), the same on every device: its area is 1 - Beta(alpha, alpha) of the
// image's, its center is anywhere, and the part outside of the image is cut off.
#pragma once
#include "engine/kernel_params.h"
#include "engine/philox.h"

namespace coss {

struct CutmixBox {
  int64_t top = 0, bottom = 0, left = 0, right = 0;  // [top, bottom) x [left, right)

  COSS_HOST_DEVICE CutmixBox(const CutmixParams& p, int64_t step, int64_t height, int64_t width) {
    Draws draws{random_key(p.seed, RandomUse::other), uint64_t(step), 0};
    const double a = draws.gamma(double(p.alpha)), b = draws.gamma(double(p.alpha));
    const double side = std::sqrt(a + b > 0 ? b / (a + b) : 0.5);  // b / (a + b) is 1 - Beta
    const PhiloxWords words = draws.next();
    span(height, side, words.word[0], top, bottom);
    span(width, side, words.word[1], left, right);
  }
  COSS_HOST_DEVICE bool contains(int64_t y, int64_t x) const {
    return y >= top && y < bottom && x >= left && x < right;
  }
  // The share of the first image that is left.
  COSS_HOST_DEVICE double share(int64_t height, int64_t width) const {
    return 1 - double((bottom - top) * (right - left)) / double(height * width);
  }

 private:
  struct Draws {
    uint64_t key, step, counter;
    COSS_HOST_DEVICE PhiloxWords next() { return philox(key, counter++, step); }
    COSS_HOST_DEVICE static double uniform(uint32_t word) { return (double(word) + 0.5) * 0x1p-32; }  // (0, 1)
    // By Marsaglia and Tsang's rejection ("A simple method for generating gamma variables", 2000). It ends after two
    // rounds nearly always, and after 64 in any case.
    COSS_HOST_DEVICE double gamma(double shape) {
      const double d = (shape < 1 ? shape + 1 : shape) - 1.0 / 3, c = 1 / std::sqrt(9 * d);
      double value = d;
      for (int round = 0; round < 64; ++round) {
        const PhiloxWords words = next();
        const double u = uniform(words.word[2]);
        const double x =
            std::sqrt(-2 * std::log(uniform(words.word[0]))) * std::cos(6.283185307179586 * uniform(words.word[1]));
        const double root = 1 + c * x, v = root * root * root;
        if (v <= 0 || std::log(u) >= x * x / 2 + d - d * v + d * std::log(v)) continue;
        value = d * v;
        break;
      }
      return shape < 1 ? value * std::pow(uniform(next().word[3]), 1 / shape) : value;
    }
  };

  COSS_HOST_DEVICE static void span(int64_t size, double side, uint32_t word, int64_t& first, int64_t& last) {
    const int64_t half = int64_t(double(size) * side) / 2, center = int64_t(uint64_t(word) * uint64_t(size) >> 32);
    first = center > half ? center - half : 0;
    last = center + half < size ? center + half : size;
  }
};

}  // namespace coss
