// Augmentation: makes the output images of a batch from decoded pixels, one image per thread at a time. math/image.h
// says what happens to a pixel. A pixel is one 32-bit word here, so every operation is a loop without shuffles.
#include "engine/math/image.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/cpu/parallel.h"
#include "engine/cpu/simd.h"
#include "engine/dispatch.h"
#include "engine/kernels.h"

#ifdef __SSE4_1__
#include <immintrin.h>
#endif

namespace coss::cpu {

namespace {

using image::blue;
using image::green;
using image::red;
using image::reflected;

typedef int32_t Quad __attribute__((vector_size(16)));
typedef uint8_t QuadBytes __attribute__((vector_size(4)));

// --- scratch -------------------------------------------------------------------------------------------------------

size_t rounded_up(size_t bytes) { return (bytes + 63) / 64 * 64; }

// Hands out consecutive pieces of a thread's scratch; with base == nullptr it only adds up their sizes.
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

struct TapTable {
  int32_t* first = nullptr;   // first source position of each output position
  int32_t* count = nullptr;   // number of source positions of each
  int32_t* weight = nullptr;  // `stride` weights for each output position
  int32_t stride = 0;
};

int32_t stride_of(const image::Axis& axis) { return int32_t(std::ceil(axis.reach)) * 2 + 1; }

struct Scratch {
  TapTable x, y;
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
  auto take_taps = [&](TapTable& taps, int32_t in, int32_t out, int32_t count) {
    taps.stride = stride_of({in, out, bicubic});
    longest = std::max(longest, taps.stride);
    taps.first = arena.take<int32_t>(count);
    taps.count = arena.take<int32_t>(count);
    taps.weight = arena.take<int32_t>(int64_t(count) * taps.stride);
  };
  if (resize_x) take_taps(s.x, p.source_w, p.resize_w, w);
  if (resize_y) take_taps(s.y, p.source_h, p.resize_h, h);
  if (resize_x || resize_y) {
    const image::Axis axis(p.source_h, p.resize_h, bicubic);
    const int64_t height = std::min(int64_t(p.source_h), int64_t(axis.ratio * h + 2 * axis.reach) + 3);
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

// --- resize --------------------------------------------------------------------------------------------------------

// Computes the taps of the output positions [first, first + count).
void make_taps(const image::Axis& axis, int32_t first, int32_t count, double* raw, TapTable& table) {
  for (int32_t i = 0; i < count; ++i) {
    const image::Taps taps = image::taps_of(axis, first + i);
    double sum = 0;
    for (int32_t t = 0; t < taps.count; ++t) {
      raw[t] = image::filter_value(axis, taps, t);
      sum += raw[t];
    }
    int32_t* weight = table.weight + int64_t(i) * table.stride;
    for (int32_t t = 0; t < taps.count; ++t) weight[t] = image::fixed_weight(raw[t], sum);
    table.first[i] = taps.first;
    table.count[i] = taps.count;
  }
}

// By reference, because how a wide vector is passed by value depends on the processor.
template <class V>
V& to_byte_range(V& v) {
  v >>= image::kWeightBits;
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
void resize_rows(const uint8_t* const (&in)[4], const TapTable& taps, int32_t count, uint8_t* const (&out)[4]) {
  for (int32_t x = 0; x < count; ++x) {
    const int32_t* weight = taps.weight + int64_t(x) * taps.stride;
    const int64_t start = int64_t(taps.first[x]) * 3;
    Quad a = Quad{} + image::kHalf, b = a, c = a, d = a;
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

// Writes the window of the resized source to s.image, black outside of the source.
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
    make_taps({p.source_h, p.resize_h, p.bicubic != 0}, ys.first, ys.size(), s.raw, s.y);
    top = s.y.first[0];
    bottom = s.y.first[ys.size() - 1] + s.y.count[ys.size() - 1];
  }
  if (resize_x) {
    make_taps({p.source_w, p.resize_w, p.bicubic != 0}, xs.first, xs.size(), s.raw, s.x);
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
      VecI sum = VecI{} + image::kHalf;
      for (int32_t t = 0; t < s.y.count[y]; ++t) sum += load_bytes(in + t * width + i) * weight[t];
      store(s.row + i, to_byte_range(sum));
    }
    std::memcpy(output_row(y), s.row, size_t(width));
  }
}

// --- color --------------------------------------------------------------------------------------------------------

void make_gray(uint32_t* pixels, int64_t n) {
  for (int64_t i = 0; i < n; ++i) pixels[i] = image::gray_word(pixels[i]);
}

void blend_with(float base, float factor, uint32_t* pixels, int64_t n) {
  for (int64_t i = 0; i < n; ++i) pixels[i] = image::blend_word(base, factor, pixels[i]);
}

float mean_gray(const uint32_t* pixels, int64_t n) {
  uint64_t sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += image::luma(pixels[i]);
  return image::mean_level(sum, n);
}

void change_saturation(float factor, uint32_t* pixels, int64_t n) {
  for (int64_t i = 0; i < n; ++i) pixels[i] = image::saturate_word(factor, pixels[i]);
}

void change_hue(float hue, uint32_t* pixels, int64_t n) {
  const int32_t shift = image::hue_shift(hue);
  for (int64_t i = 0; i < n; ++i) pixels[i] = image::turn_hue(pixels[i], shift);
}

void jitter(const ImageParams& p, uint32_t* pixels, int64_t n) {
  for (const uint8_t operation : p.order) {
    if (operation == 0 && p.brightness != 1) blend_with(0, p.brightness, pixels, n);
    if (operation == 1 && p.contrast != 1) blend_with(mean_gray(pixels, n), p.contrast, pixels, n);
    if (operation == 2 && p.saturation != 1) change_saturation(p.saturation, pixels, n);
    if (operation == 3 && p.hue != 0) change_hue(p.hue, pixels, n);
  }
}

// --- blur ----------------------------------------------------------------------------------------------------------

// Blurs s.image into s.other and then swaps the two.
void blur(const ImageParams& p, int32_t h, int32_t w, Scratch& s) {
  const int32_t half = p.blur_window / 2;
  double sum = 0;
  for (int32_t t = -half; t <= half; ++t) sum += image::bell(t, p.blur_sigma);
  int32_t reach = 0;
  for (int32_t t = 0; t <= half; ++t) {
    const double weight = image::bell(t, p.blur_sigma) / sum;
    if (weight > image::kLeastBlurWeight) reach = t;
    s.blur_weight[t] = float(weight);
  }
  const auto* in = reinterpret_cast<const uint8_t*>(s.image);
  auto* out = reinterpret_cast<uint8_t*>(s.other);
  const int64_t width = int64_t(w) * 4;
  auto load_float = [](const uint8_t* bytes) { return __builtin_convertvector(load_bytes(bytes), Vec); };
  float* center = s.blur_row + int64_t(reach) * 4;
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
      put(center + i, total, n);
    });
    for (int32_t t = 1; t <= reach; ++t) {
      std::memcpy(center - 4 * t, center + 4 * reflected(-t, w), 16);
      std::memcpy(center + width + 4 * (t - 1), center + 4 * reflected(w - 1 + t, w), 16);
    }
    for_vectors(0, width, [&](int64_t i, auto n) {
      Vec total = get(center + i, n) * s.blur_weight[0];
      for (int32_t t = 1; t <= reach; ++t) {
        total += (get(center + i - 4 * t, n) + get(center + i + 4 * t, n)) * s.blur_weight[t];
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
using Table = T[3][256];  // normalized value of each byte per channel

template <class T>
void make_table(const Normalization& normalization, bool solarize, Table<T>& table) {
  for (int c = 0; c < 3; ++c) {
    for (uint32_t v = 0; v < 256; ++v) {
      const uint32_t level = solarize ? image::solarized(v) : v;
      table[c][v] = T(image::normalized(level, normalization.mean[c], normalization.stddev[c]));
    }
  }
}

template <class T>
void normalize(const Table<T>& table, const uint32_t* pixels, bool flip, int32_t h, int32_t w, T* y) {
  for (int32_t row = 0; row < h; ++row) {
    const uint32_t* in = pixels + int64_t(row) * w + (flip ? w - 1 : 0);
    const int64_t step = flip ? -1 : 1;
    for (int32_t x = 0; x < w; ++x, in += step, y += 3) {
      y[0] = table[0][red(*in)];
      y[1] = table[1][green(*in)];
      y[2] = table[2][blue(*in)];
    }
  }
}

}  // namespace

void augment_images(Context& ctx, const Normalization& normalization, const Tensor& params, const Tensor& pixels,
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
    Table<T> tables[2];  // the second solarizes
    for (int solarize = 0; solarize < 2; ++solarize) make_table(normalization, solarize != 0, tables[solarize]);
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
      normalize(tables[p.solarize != 0], s.image, p.flip != 0, h, w, out + i * n * 3);
    }
  });
}

}  // namespace coss::cpu
