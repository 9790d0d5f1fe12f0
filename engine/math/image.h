// What augmentation does to a pixel, for every backend: they make the same 8-bit images because they run this code.
//
// Between operations a pixel is 8 bits per channel and is rounded as Pillow and torchvision round it. In flight it is
// one 32-bit word: red in the lowest byte, then green, blue and a byte without meaning. No function branches on a
// pixel's value, so that the CPU's loops over pixels become vectors.
#pragma once
#include <cmath>
#include <cstdint>

#include "engine/kernel_params.h"
#include "engine/philox.h"

namespace coss::image {

// a * b with its own rounding. In a * b + c a compiler may leave that rounding out, and compilers differ in where they
// do.
COSS_HOST_DEVICE inline double product(double a, double b) {
#if defined(__CUDA_ARCH__)
  return __dmul_rn(a, b);
#elif !defined(__CUDACC__) && __has_builtin(__builtin_assoc_barrier)
  return __builtin_assoc_barrier(a * b);
#else
  volatile double rounded = a * b;
  return rounded;
#endif
}

// --- resize: Pillow's antialiased filter, horizontal pass first, 8 bits in between ---------------------------------

constexpr int kWeightBits =
    32 - 8 - 2;  // fraction bits of a resize weight, as in Pillow: 8 bits are for the pixel, 2 for overshoot
constexpr int32_t kHalf = 1 << (kWeightBits - 1);

// One axis of an image, resized from `in` to `out` pixels.
struct Axis {
  int32_t in, out;
  bool bicubic;
  double ratio, shrink, reach;
  COSS_HOST_DEVICE Axis(int32_t from, int32_t to, bool cubic)
      : in(from), out(to), bicubic(cubic), ratio(double(from) / double(to)) {
    const double stretch = ratio < 1.0 ? 1.0 : ratio;
    shrink = 1.0 / stretch;
    reach = (cubic ? 2.0 : 1.0) * stretch;
  }
};

// The source pixels [first, first + count) that make one output pixel.
struct Taps {
  double center = 0;
  int32_t first = 0, count = 0;
};

COSS_HOST_DEVICE inline Taps taps_of(const Axis& axis, int32_t position) {
  Taps taps;
  taps.center = product(double(position) + 0.5, axis.ratio);
  const int32_t begin = int32_t(taps.center - axis.reach + 0.5), end = int32_t(taps.center + axis.reach + 0.5);
  taps.first = begin < 0 ? 0 : begin;
  taps.count = (end < axis.in ? end : axis.in) - taps.first;
  return taps;
}

// The filter's value at tap t, before the weights of an output pixel are scaled to a sum of one.
COSS_HOST_DEVICE inline double filter_value(const Axis& axis, const Taps& taps, int32_t t) {
  const double x = std::fabs(product(double(t + taps.first) - taps.center + 0.5, axis.shrink));
  if (!axis.bicubic) return x < 1 ? 1 - x : 0;
  if (x < 1) return product(product(product(1.5, x) - 2.5, x), x) + 1;  // the cubic with a = -1/2
  return x < 2 ? (product(product(x - 5, x) + 8, x) - 4) * -0.5 : 0;
}

// The weight of a tap in fixed point; `sum` is the sum of filter_value over all taps, added in their order.
COSS_HOST_DEVICE inline int32_t fixed_weight(double value, double sum) {
  const double share = sum != 0 ? value / sum : value;
  return int32_t((share < 0 ? -0.5 : 0.5) + share * double(1 << kWeightBits));
}

// --- color --------------------------------------------------------------------------------------------------------

COSS_HOST_DEVICE inline uint32_t red(uint32_t word) { return word & 255; }
COSS_HOST_DEVICE inline uint32_t green(uint32_t word) { return word >> 8 & 255; }
COSS_HOST_DEVICE inline uint32_t blue(uint32_t word) { return word >> 16 & 255; }
COSS_HOST_DEVICE inline uint32_t word_of(uint32_t r, uint32_t g, uint32_t b) { return r | g << 8 | b << 16; }

// ITU-R 601 luma with 16 fractional bits.
COSS_HOST_DEVICE inline uint32_t luma(uint32_t word) {
  return (red(word) * 19595 + green(word) * 38470 + blue(word) * 7471 + 0x8000) >> 16;
}

COSS_HOST_DEVICE inline uint32_t gray_word(uint32_t word) { return luma(word) * 0x10101; }

// The level that contrast blends with, from the sum of n lumas.
COSS_HOST_DEVICE inline float mean_level(uint64_t sum, int64_t n) { return float(int(double(sum) / double(n) + 0.5)); }

// base + factor * (value - base), clamped to a byte. Pillow computes in float and truncates, so its two roundings
// decide whether 73.9999999 becomes 74. Here the sum is in double, so that the compiler cannot fuse it with the
// product, and is then rounded to float.
COSS_HOST_DEVICE inline uint32_t blend(float base, float factor, uint32_t value) {
  const double sum = (double(base) + double(factor * (float(int32_t(value)) - base))) * (1 + 0x1p-24);
  const double floored = sum < 0.0 ? 0.0 : sum;
  return uint32_t(int32_t(floored < 255.0 ? floored : 255.0));
}

// Brightness is a blend with black, contrast one with the mean gray.
COSS_HOST_DEVICE inline uint32_t blend_word(float base, float factor, uint32_t word) {
  return word_of(blend(base, factor, red(word)), blend(base, factor, green(word)), blend(base, factor, blue(word)));
}

COSS_HOST_DEVICE inline uint32_t saturate_word(float factor, uint32_t word) {
  return blend_word(float(int32_t(luma(word))), factor, word);
}

// condition ? a : b without a branch.
COSS_HOST_DEVICE inline int32_t pick(bool condition, int32_t a, int32_t b) {
  return b ^ ((a ^ b) & -int32_t(condition));
}

// Pillow's 8-bit HSV. Pillow computes in float and double; whole numbers give the same bytes for each of the 2^24
// colors and the 2^24 triples (image_test.cpp) at a fraction of the cost.
struct Hsv {
  int32_t h, s, v;
};

COSS_HOST_DEVICE inline Hsv hsv_of(uint32_t word) {
  const int32_t r = int32_t(red(word)), g = int32_t(green(word)), b = int32_t(blue(word));
  const int32_t greater = r > g ? r : g, v = greater > b ? greater : b;
  const int32_t lesser = r < g ? r : g, range = v - (lesser < b ? lesser : b);
  // The greatest channel selects a third of the color circle, the other two the turn from its center: the hue is turn /
  // whole of 255 steps.
  const int32_t peak = pick(r == v, 0, pick(g == v, 2, 4));
  const int32_t sixths = peak * range + pick(r == v, g - b, pick(g == v, b - r, r - g));
  const int32_t turn = 255 * (sixths + pick(sixths < 0, 6 * range, 0)), whole = 6 * pick(range == 0, 1, range);
  const int32_t step = int32_t(float(turn) / float(whole));
  // Where the quotient is whole, Pillow's roundings leave some steps slightly too small, and truncation makes them one
  // step less.
  const int32_t low = pick(step < 32, int32_t(0xfffffffeu), pick(step < 64, 0, pick(step < 96, 0x11000000, 0x111)));
  const int32_t high = pick(step < 160, 0x222aaaaa, pick(step < 192, 0x23232222, pick(step < 224, 0x22222, 0)));
  const int32_t below = pick(step < 128, low, high) >> (step & 31) & int32_t(step * whole == turn);
  return {step - below, int32_t(float(255 * range) / float(pick(v == 0, 1, v))), v};
}

COSS_HOST_DEVICE inline uint32_t rgb_of(const Hsv& hsv) {
  const int32_t sector = 2 * hsv.h / 85,
                part = 2 * hsv.h - 85 * sector;  // the sector, 0 to 6 (6 is 0 again), and the position in it in 85ths
  const int32_t s = hsv.s, v = hsv.v;
  const int32_t p = (2 * v * (255 - s) + 255) / 510;
  const int32_t q = (43350 * v - 2 * v * s * part + 21675) / 43350;
  const int32_t t = (43350 * v - 2 * v * s * (85 - part) + 21675) / 43350;
  const bool to1 = sector < 1, to2 = sector < 2, to3 = sector < 3, to4 = sector < 4, to5 = sector < 5, to6 = sector < 6;
  const int32_t r = pick(to1, v, pick(to2, q, pick(to4, p, pick(to5, t, v))));
  const int32_t g = pick(to1, t, pick(to3, v, pick(to4, q, pick(to6, p, t))));
  const int32_t b = pick(to2, p, pick(to3, t, pick(to5, v, pick(to6, q, p))));
  return word_of(uint32_t(r), uint32_t(g), uint32_t(b));
}

// Steps of the hue, truncated towards zero; negative steps wrap like a byte.
COSS_HOST_DEVICE inline int32_t hue_shift(float hue) { return int32_t(double(hue) * 255.0); }

COSS_HOST_DEVICE inline uint32_t turn_hue(uint32_t word, int32_t shift) {
  const Hsv hsv = hsv_of(word);
  return rgb_of({(hsv.h + shift) & 255, hsv.s, hsv.v});
}

// --- blur ----------------------------------------------------------------------------------------------------------

// Outer taps that together weigh less than a hundredth of a gray level are left out. Sigmas are mostly small and need
// few taps.
constexpr double kLeastBlurWeight = 1e-6;

// The Gaussian, before its taps are scaled to a sum of one.
COSS_HOST_DEVICE inline double bell(int32_t t, float sigma) {
  const double x = double(t) / double(sigma);
  return std::exp(-0.5 * (x * x));
}

// Position i of an axis with reflected borders.
COSS_HOST_DEVICE inline int32_t reflected(int32_t i, int32_t size) {
  if (size == 1) return 0;
  while (i < 0 || i >= size) i = i < 0 ? -i : 2 * (size - 1) - i;
  return i;
}

// --- solarize ------------------------------------------------------------------------------------------------------

// Inverts the levels of 128 and more, for one channel.
COSS_HOST_DEVICE inline uint32_t solarized(uint32_t level) { return level < 128 ? level : 255 - level; }

// --- output --------------------------------------------------------------------------------------------------------

COSS_HOST_DEVICE inline float normalized(uint32_t level, float mean, float stddev) {
  return (float(int32_t(level)) / 255.0f - mean) / stddev;
}

}  // namespace coss::image
