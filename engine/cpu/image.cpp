// Augmentation: output images of a batch from decoded pixels, one image per thread at a time.
//
// Between operations a pixel is 8 bits per channel and is rounded as Pillow and torchvision round it, so the result is
// the image that a PyTorch pipeline makes from the same parameters. In flight a pixel is one 32-bit word (red in the
// lowest byte, then green, blue and a byte without meaning): every operation is then a loop without shuffles.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/cpu/dispatch.h"
#include "engine/cpu/parallel.h"
#include "engine/cpu/simd.h"
#include "engine/kernels.h"

#ifdef __SSE4_1__
#include <immintrin.h>
#endif

namespace coss::cpu {

namespace {

constexpr int kWeightBits = 32 - 8 - 2;  // of a resize weight, as Pillow has it: 8 bits of pixel, 2 of overshoot
constexpr int32_t kHalf = 1 << (kWeightBits - 1);

typedef int32_t Quad __attribute__((vector_size(16)));
typedef uint8_t QuadBytes __attribute__((vector_size(4)));

// --- scratch -------------------------------------------------------------------------------------------------------

size_t rounded_up(size_t bytes) { return (bytes + 63) / 64 * 64; }

// Hands out consecutive pieces of a thread's scratch; with base == nullptr it only adds up how much that would be.
class Arena {
 public:
  explicit Arena(char* base) : base_(base) {}
  template <class T>
  T* take(int64_t count) {
    T* piece = base_ ? reinterpret_cast<T*>(base_ + used_) : nullptr;
    used_ += rounded_up(size_t(count) * sizeof(T));
    return piece;
  }
  size_t used() const { return used_; }

 private:
  char* base_;
  size_t used_ = 0;
};

// The part of the output that lies inside the resized image, along one axis: output [begin, end).
struct Inside {
  int32_t begin, end, first;  // first: position of `begin` in the resized image
  Inside(int32_t window, int32_t out, int32_t resized)
      : begin(std::clamp(-window, 0, out)), end(std::clamp(resized - window, begin, out)), first(begin + window) {}
  int32_t size() const { return end - begin; }
};

struct Taps {
  int32_t* first = nullptr;   // per output position: first source position
  int32_t* count = nullptr;   // and how many
  int32_t* weight = nullptr;  // `stride` per output position
  int32_t stride = 0;
};

double reach_of(int32_t in, int32_t out, bool bicubic) {
  return (bicubic ? 2.0 : 1.0) * std::max(double(in) / double(out), 1.0);
}

int32_t stride_of(int32_t in, int32_t out, bool bicubic) {
  return int32_t(std::ceil(reach_of(in, out, bicubic))) * 2 + 1;
}

struct Scratch {
  Taps x, y;
  double* raw = nullptr;        // weights of one output position before rounding
  uint8_t* last_row = nullptr;  // copy of the last source row, with room to read a fourth byte
  uint8_t* rows = nullptr;      // source rows at the output's width, 4 bytes per pixel
  uint8_t* row = nullptr;       // one output row
  float* blur_row = nullptr;    // one row with reflected borders, 4 floats per pixel
  float* blur_weight = nullptr;
  uint32_t *image = nullptr, *other = nullptr;
};

Scratch take_scratch(Arena& arena, const ImageParams& p, int32_t h, int32_t w) {
  Scratch s;
  const bool bicubic = p.bicubic != 0;
  const bool resize_x = p.source_w != p.resize_w, resize_y = p.source_h != p.resize_h;
  int32_t longest = 0;
  auto take_taps = [&](Taps& taps, int32_t in, int32_t out, int32_t count) {
    taps.stride = stride_of(in, out, bicubic);
    longest = std::max(longest, taps.stride);
    taps.first = arena.take<int32_t>(count);
    taps.count = arena.take<int32_t>(count);
    taps.weight = arena.take<int32_t>(int64_t(count) * taps.stride);
  };
  if (resize_x) take_taps(s.x, p.source_w, p.resize_w, w);
  if (resize_y) take_taps(s.y, p.source_h, p.resize_h, h);
  if (resize_x || resize_y) {
    const double ratio = double(p.source_h) / double(p.resize_h);
    const int64_t height =
        std::min(int64_t(p.source_h), int64_t(ratio * h + 2 * reach_of(p.source_h, p.resize_h, bicubic)) + 3);
    s.raw = arena.take<double>(longest);
    s.last_row = arena.take<uint8_t>(int64_t(p.source_w) * 3 + 1);
    s.rows = arena.take<uint8_t>(height * w * 4 + 64);
    s.row = arena.take<uint8_t>(int64_t(w) * 4 + 64);
  }
  s.image = arena.take<uint32_t>(int64_t(h) * w);
  if (p.blur_sigma > 0) {
    s.other = arena.take<uint32_t>(int64_t(h) * w);
    s.blur_row = arena.take<float>((int64_t(w) + p.blur_window) * 4 + kLanes);
    s.blur_weight = arena.take<float>(p.blur_window);
  }
  return s;
}

// --- resize: Pillow's antialiased filter, horizontal pass first, 8 bits in between ---------------------------------

double filter_value(bool bicubic, double x) {
  x = std::abs(x);
  if (!bicubic) return x < 1 ? 1 - x : 0;
  constexpr double a = -0.5;
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

// Taps of the output positions [first, first + count) of an axis that goes from `in` to `out` pixels.
void make_taps(int32_t in, int32_t out, bool bicubic, int32_t first, int32_t count, double* raw, Taps& taps) {
  const double ratio = double(in) / double(out), stretch = std::max(ratio, 1.0), reach = reach_of(in, out, bicubic);
  const double shrink = 1.0 / stretch;
  for (int32_t i = 0; i < count; ++i) {
    const double centre = (double(first + i) + 0.5) * ratio;
    const int32_t begin = std::max(int32_t(centre - reach + 0.5), 0), end = std::min(int32_t(centre + reach + 0.5), in);
    double sum = 0;
    for (int32_t t = 0; t < end - begin; ++t) {
      raw[t] = filter_value(bicubic, (double(t + begin) - centre + 0.5) * shrink);
      sum += raw[t];
    }
    int32_t* weight = taps.weight + int64_t(i) * taps.stride;
    for (int32_t t = 0; t < end - begin; ++t) {
      const double share = sum != 0 ? raw[t] / sum : raw[t];
      weight[t] = int32_t((share < 0 ? -0.5 : 0.5) + share * double(1 << kWeightBits));
    }
    taps.first[i] = begin;
    taps.count[i] = end - begin;
  }
}

// By reference, for how a wide vector is passed by value depends on the processor.
template <class V>
V& to_byte_range(V& v) {
  v >>= kWeightBits;
  v &= ~(v >> 31);
  const auto over = v > 255;
  v = (v & ~over) | (over & 255);
  return v;
}

// Three channels and one byte of the next pixel.
Quad load_pixel(const uint8_t* p) {
#ifdef __SSE4_1__  // g++ 12 would convert byte by byte
  return (Quad)_mm_cvtepu8_epi32(_mm_cvtsi32_si128(load_raw<int32_t>(p)));
#else
  return __builtin_convertvector(load_raw<QuadBytes>(p), Quad);
#endif
}
void store_pixel(uint8_t* p, Quad v) {
  const QuadBytes bytes = __builtin_convertvector(v, QuadBytes);
  std::memcpy(p, &bytes, sizeof(bytes));
}

void widen_row(const uint8_t* rgb, int32_t count, uint8_t* words) {
  for (int32_t x = 0; x < count; ++x) {
    const uint32_t word = uint32_t(rgb[3 * x]) | uint32_t(rgb[3 * x + 1]) << 8 | uint32_t(rgb[3 * x + 2]) << 16;
    std::memcpy(words + 4 * x, &word, 4);
  }
}

// Four rows at a time, so that each weight is loaded once for them.
void resize_rows(const uint8_t* const (&in)[4], const Taps& taps, int32_t count, uint8_t* const (&out)[4]) {
  for (int32_t x = 0; x < count; ++x) {
    const int32_t* weight = taps.weight + int64_t(x) * taps.stride;
    const int64_t start = int64_t(taps.first[x]) * 3;
    Quad a = Quad{} + kHalf, b = a, c = a, d = a;
    for (int32_t t = 0; t < taps.count[x]; ++t) {
      const Quad k = Quad{} + weight[t];
      a += load_pixel(in[0] + start + 3 * t) * k;
      b += load_pixel(in[1] + start + 3 * t) * k;
      c += load_pixel(in[2] + start + 3 * t) * k;
      d += load_pixel(in[3] + start + 3 * t) * k;
    }
    store_pixel(out[0] + 4 * x, to_byte_range(a));
    store_pixel(out[1] + 4 * x, to_byte_range(b));
    store_pixel(out[2] + 4 * x, to_byte_range(c));
    store_pixel(out[3] + 4 * x, to_byte_range(d));
  }
}

// The window of the resized source, black outside, in s.image.
void resize_window(const ImageParams& p, const uint8_t* source, int32_t h, int32_t w, Scratch& s) {
  const Inside ys(p.window_y, h, p.resize_h), xs(p.window_x, w, p.resize_w);
  if (ys.size() < h || xs.size() < w) std::fill_n(s.image, int64_t(h) * w, 0u);
  if (ys.size() == 0 || xs.size() == 0) return;
  const int64_t source_row = int64_t(p.source_w) * 3, width = int64_t(xs.size()) * 4;
  auto output_row = [&](int32_t y) {
    return reinterpret_cast<uint8_t*>(s.image + int64_t(ys.begin + y) * w + xs.begin);
  };
  const bool resize_x = p.source_w != p.resize_w, resize_y = p.source_h != p.resize_h;
  if (!resize_x && !resize_y) {
    for (int32_t y = 0; y < ys.size(); ++y) {
      widen_row(source + (ys.first + y) * source_row + xs.first * 3, xs.size(), output_row(y));
    }
    return;
  }

  int32_t top = ys.first, bottom = ys.first + ys.size();  // source rows that the output needs
  if (resize_y) {
    make_taps(p.source_h, p.resize_h, p.bicubic != 0, ys.first, ys.size(), s.raw, s.y);
    top = s.y.first[0];
    bottom = s.y.first[ys.size() - 1] + s.y.count[ys.size() - 1];
  }
  if (resize_x) {
    make_taps(p.source_w, p.resize_w, p.bicubic != 0, xs.first, xs.size(), s.raw, s.x);
    std::memcpy(s.last_row, source + (p.source_h - 1) * source_row, size_t(source_row));
    for (int32_t y = top; y < bottom; y += 4) {
      const uint8_t* in[4];
      uint8_t* out[4];
      for (int32_t i = 0; i < 4; ++i) {
        const int32_t row = std::min(y + i, bottom - 1);
        in[i] = row == p.source_h - 1 ? s.last_row : source + row * source_row;
        out[i] = s.rows + (row - top) * width;
      }
      resize_rows(in, s.x, xs.size(), out);
    }
  } else {
    for (int32_t y = top; y < bottom; ++y) {
      widen_row(source + y * source_row + xs.first * 3, xs.size(), s.rows + (y - top) * width);
    }
  }
  for (int32_t y = 0; y < ys.size(); ++y) {
    if (!resize_y) {
      std::memcpy(output_row(y), s.rows + y * width, size_t(width));
      continue;
    }
    const uint8_t* in = s.rows + (s.y.first[y] - top) * width;
    const int32_t* weight = s.y.weight + int64_t(y) * s.y.stride;
    for (int64_t i = 0; i < width; i += kLanes) {
      VecI sum = VecI{} + kHalf;
      for (int32_t t = 0; t < s.y.count[y]; ++t) sum += load_bytes(in + t * width + i) * weight[t];
      store(s.row + i, to_byte_range(sum));
    }
    std::memcpy(output_row(y), s.row, size_t(width));
  }
}

// --- colour --------------------------------------------------------------------------------------------------------

uint32_t red(uint32_t word) { return word & 255; }
uint32_t green(uint32_t word) { return word >> 8 & 255; }
uint32_t blue(uint32_t word) { return word >> 16 & 255; }
uint32_t word_of(uint32_t r, uint32_t g, uint32_t b) { return r | g << 8 | b << 16; }
// ITU-R 601 luma with 16 fractional bits.
uint32_t luma(uint32_t word) { return (red(word) * 19595 + green(word) * 38470 + blue(word) * 7471 + 0x8000) >> 16; }

void make_gray(uint32_t* image, int64_t n) {
  for (int64_t i = 0; i < n; ++i) image[i] = luma(image[i]) * 0x10101;
}

// base + factor * (value - base), cut to a byte. Pillow computes in float and truncates, so its two roundings decide
// whether 73.9999999 becomes 74. The sum is in double here, lest the compiler fuse it with the product, and its
// rounding to float is the last factor.
uint32_t blend(float base, float factor, float value) {
  const double sum = (double(base) + double(factor * (value - base))) * (1 + 0x1p-24);
  return uint32_t(int32_t(std::min(std::max(sum, 0.0), 255.0)));
}

// Brightness is a blend with black, contrast one with the mean gray.
void blend_with(float base, float factor, uint32_t* image, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t word = image[i];
    image[i] = word_of(blend(base, factor, float(int32_t(red(word)))), blend(base, factor, float(int32_t(green(word)))),
                       blend(base, factor, float(int32_t(blue(word)))));
  }
}

float mean_gray(const uint32_t* image, int64_t n) {
  uint64_t sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += luma(image[i]);
  return float(int(double(sum) / double(n) + 0.5));
}

void change_saturation(float factor, uint32_t* image, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t word = image[i];
    const float base = float(int32_t(luma(word)));
    image[i] = word_of(blend(base, factor, float(int32_t(red(word)))), blend(base, factor, float(int32_t(green(word)))),
                       blend(base, factor, float(int32_t(blue(word)))));
  }
}

// condition ? a : b without a branch, so that the loop over pixels becomes vectors.
int32_t pick(bool condition, int32_t a, int32_t b) { return b ^ ((a ^ b) & -int32_t(condition)); }

// Turns the hue in Pillow's 8-bit HSV. Where Pillow computes in double this does too: a hue that differed by one would
// be six levels off in the saturated colours.
uint32_t turn_hue(uint32_t word, uint32_t shift) {
  const int32_t r = int32_t(red(word)), g = int32_t(green(word)), b = int32_t(blue(word));
  const int32_t v = std::max(r, std::max(g, b)), range = v - std::min(r, std::min(g, b));
  // From the sixth of the circle at which the greatest channel peaks, towards one neighbour and away from the other.
  const int32_t peak = pick(r == v, 0, pick(g == v, 2, 4));
  const int32_t towards = v - pick(r == v, b, pick(g == v, r, g)), away = v - pick(r == v, g, pick(g == v, b, r));
  const float divisor = float(std::max(range, 1));
  const double sixth = double(float(double(peak) + double(float(towards) / divisor) - double(float(away) / divisor)));
  const double turn = sixth / 6.0 + 1.0;
  const float circle = float(turn - double(int32_t(turn)));
  const int32_t h = int32_t((uint32_t(int32_t(double(circle) * 255.0)) + shift) & 255);
  const int32_t s = int32_t(double(float(range) / float(std::max(v, 1))) * 255.0);

  const double sixths = double(h) * 6.0 / 255.0, value = double(v);
  const int32_t sector = int32_t(sixths), i = pick(sector == 6, 0, sector);
  const float f = float(sixths - double(sector)), fs = float(double(s) / 255.0);
  const int32_t p = int32_t(value * (1.0 - double(fs)) + 0.5);
  const int32_t q = int32_t(value * (1.0 - double(fs * f)) + 0.5);
  const int32_t t = int32_t(value * (1.0 - double(fs) * (1.0 - double(f))) + 0.5);
  const int32_t new_r = pick((i == 0) | (i == 5), v, pick(i == 1, q, pick(i == 4, t, p)));
  const int32_t new_g = pick((i == 1) | (i == 2), v, pick(i == 3, q, pick(i == 0, t, p)));
  const int32_t new_b = pick((i == 3) | (i == 4), v, pick(i == 5, q, pick(i == 2, t, p)));
  return word_of(uint32_t(new_r), uint32_t(new_g), uint32_t(new_b));
}

void change_hue(float hue, uint32_t* image, int64_t n) {
  const uint32_t shift = uint32_t(int32_t(double(hue) * 255.0));  // towards zero; below zero it wraps as a byte does
  for (int64_t i = 0; i < n; ++i) image[i] = turn_hue(image[i], shift);
}

void jitter(const ImageParams& p, uint32_t* image, int64_t n) {
  for (const uint8_t operation : p.order) {
    if (operation == 0 && p.brightness != 1) blend_with(0, p.brightness, image, n);
    if (operation == 1 && p.contrast != 1) blend_with(mean_gray(image, n), p.contrast, image, n);
    if (operation == 2 && p.saturation != 1) change_saturation(p.saturation, image, n);
    if (operation == 3 && p.hue != 0) change_hue(p.hue, image, n);
  }
}

// --- blur ----------------------------------------------------------------------------------------------------------

int32_t reflected(int32_t i, int32_t size) {
  if (size == 1) return 0;
  while (i < 0 || i >= size) i = i < 0 ? -i : 2 * (size - 1) - i;
  return i;
}

// From s.image to s.other, which change places. Taps that together weigh less than a hundredth of a grey level are left
// out: small sigmas are the rule and need few.
void blur(const ImageParams& p, int32_t h, int32_t w, Scratch& s) {
  const int32_t half = p.blur_window / 2;
  double sum = 0;
  for (int32_t t = -half; t <= half; ++t) sum += std::exp(-0.5 * std::pow(double(t) / double(p.blur_sigma), 2));
  int32_t reach = 0;
  for (int32_t t = 0; t <= half; ++t) {
    const double weight = std::exp(-0.5 * std::pow(double(t) / double(p.blur_sigma), 2)) / sum;
    if (weight > 1e-6) reach = t;
    s.blur_weight[t] = float(weight);
  }
  const auto* in = reinterpret_cast<const uint8_t*>(s.image);
  auto* out = reinterpret_cast<uint8_t*>(s.other);
  const int64_t width = int64_t(w) * 4;
  auto load_float = [](const uint8_t* bytes) { return __builtin_convertvector(load_bytes(bytes), Vec); };
  float* centre = s.blur_row + int64_t(reach) * 4;
  for (int32_t y = 0; y < h; ++y) {
    for_vectors(0, width, [&](int64_t i, auto n) {
      auto at = [&](int32_t row) {
        const uint8_t* bytes = in + reflected(row, h) * width + i;
        if (int64_t(n) == kLanes) return load_float(bytes);
        uint8_t part[kLanes] = {};
        std::memcpy(part, bytes, size_t(n));
        return load_float(part);
      };
      Vec total = at(y) * s.blur_weight[0];
      for (int32_t t = 1; t <= reach; ++t) total += (at(y - t) + at(y + t)) * s.blur_weight[t];
      put(centre + i, total, n);
    });
    for (int32_t t = 1; t <= reach; ++t) {
      std::memcpy(centre - 4 * t, centre + 4 * reflected(-t, w), 16);
      std::memcpy(centre + width + 4 * (t - 1), centre + 4 * reflected(w - 1 + t, w), 16);
    }
    for_vectors(0, width, [&](int64_t i, auto n) {
      Vec total = get(centre + i, n) * s.blur_weight[0];
      for (int32_t t = 1; t <= reach; ++t) {
        total += (get(centre + i - 4 * t, n) + get(centre + i + 4 * t, n)) * s.blur_weight[t];
      }
      uint8_t bytes[kLanes];
      store(bytes, __builtin_convertvector(total + 0.5f, VecI));
      std::memcpy(out + y * width + i, bytes, size_t(n));
    });
  }
  std::swap(s.image, s.other);
}

// --- the whole -----------------------------------------------------------------------------------------------------

template <class T>
using Table = T[3][256];  // normalised value of each byte per channel

template <class T>
void make_table(const Normalisation& normalisation, Table<T>& table) {
  for (int c = 0; c < 3; ++c) {
    for (int v = 0; v < 256; ++v)
      table[c][v] = T((float(v) / 255.0f - normalisation.mean[c]) / normalisation.stddev[c]);
  }
}

template <class T>
void normalise(const Table<T>& table, const uint32_t* image, bool flip, int32_t h, int32_t w, T* y) {
  for (int32_t row = 0; row < h; ++row) {
    const uint32_t* in = image + int64_t(row) * w + (flip ? w - 1 : 0);
    const int64_t step = flip ? -1 : 1;
    for (int32_t x = 0; x < w; ++x, in += step, y += 3) {
      y[0] = table[0][red(*in)];
      y[1] = table[1][green(*in)];
      y[2] = table[2][blue(*in)];
    }
  }
}

}  // namespace

void augment_images(Context& ctx, const Normalisation& normalisation, const Tensor& params, const Tensor& pixels,
                    Tensor& y) {
  const int64_t count = y.shape()[0];
  const int32_t h = int32_t(y.shape()[1]), w = int32_t(y.shape()[2]);
  COSS_ASSERT(params.bytes() == size_t(count) * sizeof(ImageParams) && y.shape()[3] == 3);
  const auto* all = static_cast<const ImageParams*>(params.raw());
  const auto* source = pixels.data<uint8_t>();
  size_t scratch_bytes = 0;
  for (int64_t i = 0; i < count; ++i) {
    const ImageParams& p = all[i];
    COSS_ASSERT(p.source_h > 0 && p.source_w > 0 && p.resize_h > 0 && p.resize_w > 0 && p.blur_window > 0);
    COSS_ASSERT(p.offset >= 0 && p.offset + int64_t(p.source_h) * p.source_w * 3 <= pixels.numel());
    Arena measure(nullptr);
    take_scratch(measure, p, h, w);
    scratch_bytes = std::max(scratch_bytes, measure.used());
  }
  const int parts = omp_in_parallel() ? 1 : int(std::min<int64_t>(threads(), count));
  auto* scratch = static_cast<char*>(ctx.workspace(scratch_bytes * size_t(std::max(parts, 1))));
  dispatch("augment_images", y.dtype(), [&]<class T>() {
    Table<T> table;
    make_table(normalisation, table);
    T* out = y.mutable_data<T>();
#pragma omp parallel for num_threads(parts) schedule(dynamic, 1)
    for (int64_t i = 0; i < count; ++i) {
      const ImageParams& p = all[i];
      Arena arena(scratch + size_t(omp_get_thread_num()) * scratch_bytes);
      Scratch s = take_scratch(arena, p, h, w);
      const int64_t n = int64_t(h) * w;
      resize_window(p, source + p.offset, h, w, s);
      if (p.gray == 2) make_gray(s.image, n);
      if (p.jitter) jitter(p, s.image, n);
      if (p.gray == 1) make_gray(s.image, n);
      if (p.blur_sigma > 0) blur(p, h, w, s);
      normalise(table, s.image, p.flip != 0, h, w, out + i * n * 3);
    }
  });
}

}  // namespace coss::cpu
