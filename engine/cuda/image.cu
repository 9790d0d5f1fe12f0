// Augmentation: makes the output images of a batch from decoded pixels. math/image.h says what happens to a pixel, so
// the CPU makes the same image.
//
// The parameters are on the device, so the shape of every launch depends on the number and size of the outputs only.
// resize_images has a block per tile of 32 x 32 output pixels. It reads the source and writes a word per pixel into the
// workspace; it also does the color operations before contrast and adds up the gray levels. recolor_images does
// contrast and the operations after it, in place, for images that will be blurred. finish_images has a block per band
// of rows. It blurs, or does these color operations for the other images, then solarizes, flips, normalizes and writes
// the output.
//
// From 350 x 350 to 224 x 224 in 16 bits these move 0.37 + 0.2, 0.4 (blurred images only) and 0.2 + 0.3 MB per image.
// Source and output alone are 0.67.
#include "engine/check.h"
#include "engine/cuda/device.h"
#include "engine/dispatch.h"
#include "engine/kernels.h"
#include "engine/math/image.h"

// Put before a loop that rarely runs: unrolled, it would raise the registers of the whole kernel.
#ifdef COSS_CUDA_HOST
#define COSS_RARE
#else
#define COSS_RARE _Pragma("unroll 1")
#endif

namespace coss::cuda {

namespace {

using Sum = unsigned long long;  // a sum of gray levels, in a type of atomicAdd

// --- color --------------------------------------------------------------------------------------------------------

// The color operations of an image. Those from `split` on (contrast and what follows it) need the mean gray of the
// image before them. split == 4: there are none.
struct Colors {
  uint32_t order;  // one byte per operation, the first in the lowest byte
  int begin, split;
  float brightness, contrast, saturation, hue;
  uint8_t gray;
  bool blurred;
};

__device__ inline Colors colors_of(const ImageParams& p) {
  Colors c;
  c.order = p.order[0] | uint32_t(p.order[1]) << 8 | uint32_t(p.order[2]) << 16 | uint32_t(p.order[3]) << 24;
  c.begin = p.jitter ? 0 : 4;
  c.split = 4;
  for (int i = 3; i >= c.begin; --i) {
    if ((c.order >> 8 * i & 255) == 1 && p.contrast != 1) c.split = i;
  }
  c.brightness = p.brightness;
  c.contrast = p.contrast;
  c.saturation = p.saturation;
  c.hue = p.hue;
  c.gray = p.gray;
  c.blurred = p.blur_sigma > 0;
  return c;
}

// Applies operations [begin, end) of the order to a thread's N pixels.
template <int N>
__device__ inline void jitter(const Colors& c, int begin, int end, float mean, uint32_t (&words)[N]) {
  auto each = [&](auto operation) {
    COSS_UNROLL
    for (int i = 0; i < N; ++i) words[i] = operation(words[i]);
  };
  for (int step = begin; step < end; ++step) {
    const uint32_t operation = c.order >> 8 * step & 255;
    if (operation == 0 && c.brightness != 1)
      each([&](uint32_t word) { return image::blend_word(0, c.brightness, word); });
    if (operation == 1 && c.contrast != 1)
      each([&](uint32_t word) { return image::blend_word(mean, c.contrast, word); });
    if (operation == 2 && c.saturation != 1)
      each([&](uint32_t word) { return image::saturate_word(c.saturation, word); });
    if (operation == 3 && c.hue != 0)
      each([&](uint32_t word) { return image::turn_hue(word, image::hue_shift(c.hue)); });
  }
}

template <int N>
__device__ inline void make_gray(uint32_t (&words)[N]) {
  COSS_UNROLL
  for (int i = 0; i < N; ++i) words[i] = image::gray_word(words[i]);
}

template <int N>
__device__ inline void before_split(const Colors& c, uint32_t (&words)[N]) {
  if (c.gray == 2) make_gray(words);
  jitter(c, c.begin, c.split, 0, words);
  if (c.gray == 1 && c.split == 4) make_gray(words);
}
template <int N>
__device__ inline void after_split(const Colors& c, float mean, uint32_t (&words)[N]) {
  jitter(c, c.split, 4, mean, words);
  if (c.gray == 1) make_gray(words);
}

// --- resize --------------------------------------------------------------------------------------------------------

constexpr int kTile = 32;  // rows and columns of a block's output; the lanes of a warp are columns
constexpr int kResizeThreads = 256, kResizeWarps = kResizeThreads / kWarp;
constexpr int kOwnRows = kTile / kResizeWarps;  // output rows of a warp
constexpr int kRowsAtOnce = 2;                  // source rows that share a loaded weight
constexpr int kStrip = 128;                     // source rows that are resized horizontally before the vertical pass
constexpr int kTableTaps = 16;  // weights kept per position; the others are computed where they are used
static_assert(kTile == kWarp);

__device__ inline uint32_t clamped_byte(int32_t sum) {
  const int32_t level = sum >> image::kWeightBits;
  return uint32_t(level < 0 ? 0 : level > 255 ? 255 : level);
}

// Calls body(tap, weight) for the taps [begin, end) of one position, whose first tap is source pixel `first`. Slots 0
// to 31 are the tile's rows, 32 to 63 its columns. Values that only the rare computed weights need stay in shared
// memory.
template <class Weights, class Doubles, class Body>
__device__ inline void for_taps(int begin, int end, Weights& weights, Doubles& centers, Doubles& filter_sums, int slot,
                                int32_t first, const ImageParams& p, Body body) {
  const int tabled = end < kTableTaps ? end : kTableTaps;
  for (int t = begin; t < tabled; ++t) {
    const int32_t weight = weights[t * 2 * kTile + slot];
    body(t, weight);
  }
  if (end > kTableTaps) {
    const bool columns = slot >= kTile;
    const image::Axis axis(columns ? p.source_w : p.source_h, columns ? p.resize_w : p.resize_h, p.bicubic != 0);
    image::Taps taps;
    taps.center = centers[slot];
    taps.first = first;
    const double sum = filter_sums[slot];
    COSS_RARE
    for (int t = begin > kTableTaps ? begin : kTableTaps; t < end; ++t)
      body(t, image::fixed_weight(image::filter_value(axis, taps, t), sum));
  }
}

// images (N,H,W) words, sums (N).
__global__ void __launch_bounds__(kResizeThreads, 4)
    resize_images(const ImageParams* params, const uint8_t* pixels, int32_t h, int32_t w, uint32_t* images, Sum* sums) {
  COSS_SHARED(uint32_t, strip, kStrip * kTile);
  COSS_SHARED(int32_t, weights, kTableTaps * 2 * kTile);
  COSS_SHARED(int32_t, firsts, 2 * kTile);
  COSS_SHARED(int32_t, counts, 2 * kTile);
  COSS_SHARED(double, centers, 2 * kTile);
  COSS_SHARED(double, filter_sums, 2 * kTile);
  COSS_SHARED(int32_t, bounds, 2);

  const unsigned across = unsigned(w + kTile - 1) / kTile, tiles = across * (unsigned(h + kTile - 1) / kTile);
  const unsigned number = blockIdx.x / tiles, tile = blockIdx.x % tiles;
  const int32_t tile_y = int32_t(tile / across) * kTile, tile_x = int32_t(tile % across) * kTile;
  const ImageParams& p = params[number];
  const int thread = int(threadIdx.x), lane = thread % kWarp, warp = thread / kWarp;

  // The first warp computes the taps of the tile's rows, the second those of its columns. Positions outside of the
  // source have none and stay black.
  if (thread < 2 * kTile) {
    const bool columns = thread >= kTile;
    const int32_t in = columns ? p.source_w : p.source_h, out = columns ? p.resize_w : p.resize_h;
    const int32_t output = (columns ? tile_x : tile_y) + lane;
    const int32_t place = output + (columns ? p.window_x : p.window_y);
    image::Taps taps;
    double sum = 0;
    if (output < (columns ? w : h) && place >= 0 && place < out) {
      if (in == out) {  // the filter would give this one tap and zeros
        taps.first = place;
        taps.count = 1;
        weights[thread] = int32_t(1) << image::kWeightBits;
      } else {
        const image::Axis axis(in, out, p.bicubic != 0);
        taps = image::taps_of(axis, place);
        for (int32_t t = 0; t < taps.count; ++t) sum += image::filter_value(axis, taps, t);
        const int32_t tabled = taps.count < kTableTaps ? taps.count : kTableTaps;
        for (int32_t t = 0; t < tabled; ++t)
          weights[t * 2 * kTile + thread] = image::fixed_weight(image::filter_value(axis, taps, t), sum);
      }
    }
    firsts[thread] = taps.first;
    counts[thread] = taps.count;
    centers[thread] = taps.center;
    filter_sums[thread] = sum;
    if (!columns) {  // the source rows that the tile needs
      int32_t top = taps.count > 0 ? taps.first : p.source_h, bottom = taps.count > 0 ? taps.first + taps.count : 0;
      COSS_UNROLL
      for (int step = kWarp / 2; step > 0; step /= 2) {
        const int32_t other_top = __shfl_xor_sync(kAllLanes, top, step);
        const int32_t other_bottom = __shfl_xor_sync(kAllLanes, bottom, step);
        top = other_top < top ? other_top : top;
        bottom = other_bottom > bottom ? other_bottom : bottom;
      }
      if (lane == 0) {
        bounds[0] = top;
        bounds[1] = bottom;
      }
    }
  }
  __syncthreads();
  const int32_t top = bounds[0], bottom = bounds[1];
  const int32_t column_taps = counts[kTile + lane], column_first = firsts[kTile + lane];
  const int64_t row_bytes = int64_t(p.source_w) * 3;
  const uint8_t* source = pixels + p.offset + int64_t(column_first) * 3;

  int32_t total[kOwnRows][3];
  COSS_UNROLL
  for (int i = 0; i < kOwnRows; ++i) total[i][0] = total[i][1] = total[i][2] = image::kHalf;
  for (int32_t start = top; start < bottom; start += kStrip) {
    const int32_t rows = bottom - start < kStrip ? bottom - start : kStrip;
    for (int32_t group = warp * kRowsAtOnce; group < rows; group += kResizeWarps * kRowsAtOnce) {
      const uint8_t* in = source + (start + group) * row_bytes;
      int32_t offset[kRowsAtOnce], sum[kRowsAtOnce][3];
      COSS_UNROLL
      for (int i = 0; i < kRowsAtOnce; ++i) {
        offset[i] = (group + i < rows ? i : rows - 1 - group) * int32_t(row_bytes);
        sum[i][0] = sum[i][1] = sum[i][2] = image::kHalf;
      }
      for_taps(0, column_taps, weights, centers, filter_sums, kTile + lane, column_first, p,
               [&](int t, int32_t weight) {
                 COSS_UNROLL
                 for (int i = 0; i < kRowsAtOnce; ++i) {
                   COSS_UNROLL
                   for (int c = 0; c < 3; ++c) sum[i][c] += weight * int32_t(__ldg(in + offset[i] + 3 * t + c));
                 }
               });
      COSS_UNROLL
      for (int i = 0; i < kRowsAtOnce; ++i) {
        if (group + i < rows)
          strip[(group + i) * kTile + lane] =
              image::word_of(clamped_byte(sum[i][0]), clamped_byte(sum[i][1]), clamped_byte(sum[i][2]));
      }
    }
    __syncthreads();
    COSS_UNROLL
    for (int i = 0; i < kOwnRows; ++i) {
      const int slot = warp + i * kResizeWarps;
      const int32_t first = firsts[slot], count = counts[slot], skip = first - start;  // tap 0 is this row of the strip
      const int32_t begin = skip < 0 ? -skip : 0, end = count < rows - skip ? count : rows - skip;
      for_taps(begin, end, weights, centers, filter_sums, slot, first, p, [&](int t, int32_t weight) {
        const uint32_t word = strip[(skip + t) * kTile + lane];
        total[i][0] += weight * int32_t(image::red(word));
        total[i][1] += weight * int32_t(image::green(word));
        total[i][2] += weight * int32_t(image::blue(word));
      });
    }
    __syncthreads();  // the strip will be written again
  }

  const Colors colors = colors_of(p);
  uint32_t own[kOwnRows], grays = 0;
  COSS_UNROLL
  for (int i = 0; i < kOwnRows; ++i)
    own[i] = image::word_of(clamped_byte(total[i][0]), clamped_byte(total[i][1]), clamped_byte(total[i][2]));
  before_split(colors, own);
  COSS_UNROLL
  for (int i = 0; i < kOwnRows; ++i) {
    const int32_t y = tile_y + warp + i * kResizeWarps, x = tile_x + lane;
    if (y < h && x < w) {
      grays += image::luma(own[i]);
      images[(int64_t(number) * h + y) * w + x] = own[i];
    }
  }
  if (colors.split < 4) {
    grays = block_sum<kResizeThreads>(grays);
    if (thread == 0) atomicAdd(sums + number, Sum(grays));
  }
}

// --- contrast and what follows it, of images that will be blurred --------------------------------------------------

constexpr int kRecolorThreads = 256, kOwnPixels = 4, kRecolorPixels = kOwnPixels * kRecolorThreads;

__global__ void __launch_bounds__(kRecolorThreads)
    recolor_images(const ImageParams* params, const Sum* sums, int64_t size, unsigned parts, uint32_t* images) {
  const unsigned number = blockIdx.x / parts, part = blockIdx.x % parts;
  const Colors colors = colors_of(params[number]);
  if (colors.split == 4 || !colors.blurred) return;
  const float mean = image::mean_level(sums[number], size);
  uint32_t* words = images + int64_t(number) * size;
  const int64_t first = int64_t(part) * kRecolorPixels + threadIdx.x;
  uint32_t own[kOwnPixels];
  COSS_UNROLL
  for (int i = 0; i < kOwnPixels; ++i) {
    const int64_t at = first + i * kRecolorThreads;
    own[i] = at < size ? words[at] : 0;
  }
  after_split(colors, mean, own);
  COSS_UNROLL
  for (int i = 0; i < kOwnPixels; ++i) {
    const int64_t at = first + i * kRecolorThreads;
    if (at < size) words[at] = own[i];
  }
}

// --- blur, solarize, flip, normalize -------------------------------------------------------------------------------

// A multiple of 3 and of the warp: a thread that advances by a block's width stays in its channel.
constexpr int kFinishThreads = 192;
constexpr int kBlurTaps = kWarp;  // weights kept; the others are computed where they are used

// Calls body(i, row, x) for this thread's share of a band of `rows` rows.
template <class Body>
__device__ inline void for_pixels(int32_t rows, int32_t w, Body body) {
  int32_t row = int32_t(threadIdx.x) / w, x = int32_t(threadIdx.x) % w;
  for (int32_t i = int32_t(threadIdx.x); i < rows * w; i += kFinishThreads) {
    body(i, row, x);
    for (x += kFinishThreads; x >= w; x -= w) ++row;
  }
}

// Calls body(tap, weight) for the taps 1 to reach.
template <class Weights, class Body>
__device__ inline void for_blur_taps(int32_t reach, Weights& weights, float sigma, double sum, Body body) {
  const int32_t tabled = reach < kBlurTaps ? reach : kBlurTaps - 1;
  for (int32_t t = 1; t <= tabled; ++t) {
    const float weight = weights[t];
    body(t, weight);
  }
  COSS_RARE
  for (int32_t t = kBlurTaps; t <= reach; ++t) body(t, float(image::bell(t, sigma) / sum));
}

// kItems elements of y are written at once: 4, or 1 where bands are no multiple of it or y is not aligned.
template <class T, int kItems>
__global__ void __launch_bounds__(kFinishThreads)
    finish_images(Normalization normalization, const ImageParams* params, const uint32_t* images, const Sum* sums,
                  int32_t h, int32_t w, int32_t band, T* y) {
  // The output pixels of the band; after them, for blurred images, three floats per pixel for the vertical pass.
  COSS_DYNAMIC_SHARED(uint32_t, words);
  COSS_SHARED(float, levels, 3 * 256);
  COSS_SHARED(double, bells, kBlurTaps);
  COSS_SHARED(float, weights, kBlurTaps);
  COSS_SHARED(double, bell_sum, 1);
  COSS_SHARED(int32_t, bell_reach, 1);

  const unsigned bands = unsigned(h + band - 1) / unsigned(band);
  const unsigned number = blockIdx.x / bands;
  const int32_t first_row = int32_t(blockIdx.x % bands) * band;
  const int32_t rows = h - first_row < band ? h - first_row : band;
  const ImageParams p = params[number];
  const int thread = int(threadIdx.x);
  const uint32_t* pixels = images + int64_t(number) * h * w;
  const bool flip = p.flip != 0;

  for (int i = thread; i < 3 * 256; i += kFinishThreads) {
    const float mean = i < 256 ? normalization.mean[0] : i < 512 ? normalization.mean[1] : normalization.mean[2];
    const float stddev = i < 256   ? normalization.stddev[0]
                         : i < 512 ? normalization.stddev[1]
                                   : normalization.stddev[2];
    const uint32_t level = uint32_t(i) & 255;
    levels[i] = image::normalized(p.solarize ? image::solarized(level) : level, mean, stddev);
  }

  if (p.blur_sigma > 0) {
    const float sigma = p.blur_sigma;
    const int32_t half = p.blur_window / 2;
    if (thread < kWarp) {
      if (thread <= half) bells[thread] = image::bell(thread, sigma);
      __syncwarp();
      auto bell_at = [&](int32_t t) {
        if (t >= kBlurTaps) return image::bell(t, sigma);
        const double value = bells[t];
        return value;
      };
      double sum = 0;  // added in the same order as on the CPU
      for (int32_t t = half; t > 0; --t) sum += bell_at(t);
      for (int32_t t = 0; t <= half; ++t) sum += bell_at(t);
      const double share = thread <= half ? bell_at(thread) / sum : 0;
      weights[thread] = float(share);
      // Weights fall with the distance, so their number tells which is the last that counts.
      int32_t reach = 31 - __clz(int(__ballot_sync(kAllLanes, share > image::kLeastBlurWeight) | 1));
      if (reach == kBlurTaps - 1) {
        for (int32_t t = kBlurTaps; t <= half && image::bell(t, sigma) / sum > image::kLeastBlurWeight; ++t) reach = t;
      }
      if (thread == 0) {
        bell_sum[0] = sum;
        bell_reach[0] = reach;
      }
    }
    __syncthreads();

    const double sum = bell_sum[0];
    const int32_t reach = bell_reach[0];
    const float center = weights[0];
    const int32_t lines = band * w;  // where the vertical pass is stored
    const bool rows_inside = first_row >= reach && first_row + rows + reach <= h;
    for_pixels(rows, w, [&](int32_t i, int32_t row, int32_t x) {
      auto at = [&](int32_t line) {
        const int32_t inside = rows_inside ? line : image::reflected(line, h);
        return pixels[int64_t(inside) * w + x];
      };
      const int32_t line = first_row + row;
      const uint32_t word = at(line);
      float r = __fmul_rn(float(image::red(word)), center), g = __fmul_rn(float(image::green(word)), center);
      float b = __fmul_rn(float(image::blue(word)), center);
      for_blur_taps(reach, weights, sigma, sum, [&](int32_t t, float weight) {
        const uint32_t above = at(line - t), below = at(line + t);
        r = fmaf(float(image::red(above) + image::red(below)), weight, r);
        g = fmaf(float(image::green(above) + image::green(below)), weight, g);
        b = fmaf(float(image::blue(above) + image::blue(below)), weight, b);
      });
      words[lines + 3 * i] = __float_as_uint(r);
      words[lines + 3 * i + 1] = __float_as_uint(g);
      words[lines + 3 * i + 2] = __float_as_uint(b);
    });
    __syncthreads();
    for_pixels(rows, w, [&](int32_t, int32_t row, int32_t x) {
      auto level_at = [&](int32_t column, int c) { return __uint_as_float(words[lines + 3 * (row * w + column) + c]); };
      float sums_of[3];
      COSS_UNROLL
      for (int c = 0; c < 3; ++c) sums_of[c] = __fmul_rn(level_at(x, c), center);
      const bool inside = x >= reach && x + reach < w;
      for_blur_taps(reach, weights, sigma, sum, [&](int32_t t, float weight) {
        const int32_t left = inside ? x - t : image::reflected(x - t, w);
        const int32_t right = inside ? x + t : image::reflected(x + t, w);
        COSS_UNROLL
        for (int c = 0; c < 3; ++c) sums_of[c] = fmaf(level_at(left, c) + level_at(right, c), weight, sums_of[c]);
      });
      words[row * w + (flip ? w - 1 - x : x)] = image::word_of(
          uint32_t(sums_of[0] + 0.5f) & 255, uint32_t(sums_of[1] + 0.5f) & 255, uint32_t(sums_of[2] + 0.5f) & 255);
    });
  } else {
    const Colors colors = colors_of(p);
    const float mean = colors.split < 4 ? image::mean_level(sums[number], int64_t(h) * w) : 0;
    pixels += int64_t(first_row) * w;
    for_pixels(rows, w, [&](int32_t i, int32_t row, int32_t x) {
      uint32_t own[1] = {pixels[i]};
      if (colors.split < 4) after_split(colors, mean, own);
      words[row * w + (flip ? w - 1 - x : x)] = own[0];
    });
  }
  __syncthreads();

  T* out = y + (int64_t(number) * h + first_row) * w * 3;
  const int32_t elements = rows * w * 3;
  int32_t pixel = thread * kItems / 3;
  const int c = thread * kItems % 3;
  const int first = 256 * c, second = 256 * ((c + 1) % 3), third = 256 * ((c + 2) % 3);
  for (int32_t e = thread * kItems; e < elements; e += kFinishThreads * kItems, pixel += kFinishThreads * kItems / 3) {
    const uint32_t word = words[pixel];
    if constexpr (kItems == 1) {
      const float value = levels[first + int(word >> 8 * c & 255)];
      out[e] = from_float<T>(value);
    } else {
      const uint32_t next = words[pixel + 1];  // four bytes from any channel end in the next pixel
      const uint32_t bytes = word >> 8 * c | next << (24 - 8 * c);
      const float values[4] = {levels[first + int(bytes & 255)], levels[second + int(bytes >> 8 & 255)],
                               levels[third + int(bytes >> 16 & 255)], levels[first + int(bytes >> 24)]};
      store(out + e, values);
    }
  }
}

// Rows of a block of finish_images: as many as leave room for several blocks in a multiprocessor's shared memory.
constexpr int64_t kFinishBytesPerPixel = 16, kFinishBytes = 40 << 10;
constexpr int32_t kMostRows = 8, kWidest = 8192;

int32_t band_of(int32_t w) {
  const int64_t rows = kFinishBytes / (kFinishBytesPerPixel * w);
  return int32_t(rows < 1 ? 1 : rows > kMostRows ? kMostRows : rows);
}

}  // namespace

void augment_images(Context& ctx, const Normalization& normalization, const Tensor& params, const Tensor& pixels,
                    Tensor& y) {
  const int64_t count = y.shape()[0], size = y.shape()[1] * y.shape()[2];
  COSS_ASSERT(params.bytes() == size_t(count) * sizeof(ImageParams) && y.shape()[3] == 3);
  if (count * size == 0) return;
  COSS_CHECK(y.shape()[2] <= kWidest, "[augment_images] output images are at most 8192 pixels wide on a GPU");
  const int32_t h = int32_t(y.shape()[1]), w = int32_t(y.shape()[2]);
  const auto* all = static_cast<const ImageParams*>(params.raw());

  const size_t sum_bytes = size_t(count) * sizeof(Sum);
  auto* sums =
      static_cast<Sum*>(ctx.workspace((sum_bytes + 255) / 256 * 256 + size_t(count * size) * sizeof(uint32_t)));
  auto* images = reinterpret_cast<uint32_t*>(reinterpret_cast<char*>(sums) + (sum_bytes + 255) / 256 * 256);
  zero_bytes(ctx, sums, sum_bytes);

  const int64_t tiles = ((h + kTile - 1) / kTile) * int64_t((w + kTile - 1) / kTile);
  COSS_ASSERT(count * (tiles + h) <= INT32_MAX);  // blocks of the launches below
  launch(ctx, {"resize_images", unsigned(count * tiles), kResizeThreads, 0}, resize_images, all, pixels.data<uint8_t>(),
         h, w, images, sums);
  const unsigned parts = blocks_for(size, kRecolorPixels);
  launch(ctx, {"recolor_images", unsigned(count) * parts, kRecolorThreads, 0}, recolor_images, all, sums, size, parts,
         images);
  const int32_t band = band_of(w);
  const unsigned blocks = unsigned(count) * blocks_for(h, band);
  const size_t shared = size_t(band) * size_t(w) * size_t(kFinishBytesPerPixel);
  dispatch("augment_images", y.dtype(), [&]<class T>() {
    T* out = y.mutable_data<T>();
    const bool fours = band * w % 4 == 0 && size % 4 == 0 && reinterpret_cast<uintptr_t>(out) % (4 * sizeof(T)) == 0;
    launch(ctx, {"finish_images", blocks, kFinishThreads, shared}, fours ? finish_images<T, 4> : finish_images<T, 1>,
           normalization, all, images, sums, h, w, band, out);
  });
}

}  // namespace coss::cuda
