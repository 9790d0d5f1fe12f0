// Max pooling with one-byte indices, average pooling of windows and of whole images and the option-A shortcut,
// vectorized over channels.
#include <type_traits>

#include "engine/cpu/nontemporal.h"
#include "engine/cpu/parallel.h"
#include "engine/cpu/scratch.h"
#include "engine/dispatch.h"
#include "engine/kernels.h"

namespace coss::cpu {

namespace {

constexpr int64_t kMaxWindow = 15;  // window * window fits the one-byte index

constexpr int64_t kAhead = 8;  // output pixels

// The taps [begin, end) of the window at output position `out` that lie inside [0, size).
Range taps_inside(const PoolParams& p, int64_t out, int64_t size) {
  const int64_t first = out * p.stride - p.pad;
  return {std::max<int64_t>(0, -first), std::min(p.window, size - first)};
}

// The outputs [begin, end) whose windows cover input position `in`.
Range covering(const PoolParams& p, int64_t in, int64_t outputs) {
  const int64_t last = (in + p.pad) / p.stride, before = in + p.pad - p.window;
  return {before < 0 ? 0 : before / p.stride + 1, std::min(outputs, last + 1)};
}

// Offsets of the taps of one window from its (possibly outside) first element. Neighboring windows mostly share them.
struct Taps {
  Range rows{0, 0}, columns{0, 0};
  int count = 0;
  int64_t offset[kMaxWindow * kMaxWindow];
  int32_t tap[kMaxWindow * kMaxWindow];

  void set(const PoolParams& p, Range new_rows, Range new_columns, int64_t width, int64_t channels) {
    if (new_rows == rows && new_columns == columns) return;
    rows = new_rows;
    columns = new_columns;
    count = 0;
    for (int64_t r = rows.begin; r < rows.end; ++r) {
      for (int64_t s = columns.begin; s < columns.end; ++s) {
        offset[count] = (r * width + s) * channels;
        tap[count++] = int32_t(r * p.window + s);
      }
    }
  }
};

// One output pixel. First the maximum, then, backwards, where it is: the first of several equal ones stays. Two short
// loops are faster than one that carries the maximum from comparison to comparison.
template <class T, class Count>
void max_of_window(const Taps& taps, Count count, const T* window, int64_t channels, T* y, uint8_t* index) {
  for_vectors(0, channels, [&](int64_t c, auto n) {
    auto at = [&](int k) { return get(window + taps.offset[k] + c, n); };
    Vec best = at(0), sum = best;
    for (int k = 1; k < count; ++k) {
      const Vec v = at(k);
      best = larger(best, v);
      sum += v;
    }
    VecI where{};
    if (is_nan(sum)) [[unlikely]] {  // a NaN, or infinities of both signs: NaN wins, as in PyTorch
      best = at(0);
      where += taps.tap[0];
      for (int k = 1; k < count; ++k) {
        const Vec v = at(k);
        const LaneBits wins = less(best, v) | is_nan(v);
        best = select(wins, v, best);
        where = select(wins, VecI{} + taps.tap[k], where);
      }
    } else {
      for (int k = count - 1; k >= 0; --k) where = select(equal(at(k), best), VecI{} + taps.tap[k], where);
    }
    put(y + c, best, n);
    put(index + c, where, n);
  });
}

template <class T>
void max_pool_row(const PoolParams& p, const T* image, int64_t height, int64_t width, int64_t channels, int64_t out_h,
                  int64_t out_width, T* y, uint8_t* index) {
  const Range rows = taps_inside(p, out_h, height);
  Taps taps;
  for (int64_t q = 0; q < out_width; ++q) {
    taps.set(p, rows, taps_inside(p, q, width), width, channels);
    const T* window = image + ((out_h * p.stride - p.pad) * width + q * p.stride - p.pad) * channels;
    // Reading several rows side by side defeats the processor's own prefetching.
    for (int64_t r = rows.begin; r < rows.end; ++r)
      prefetch(window + (r * width + kAhead * p.stride) * channels, p.stride * channels);
    if (taps.count == 9)  // unrolled
      max_of_window(taps, std::integral_constant<int, 9>{}, window, channels, y + q * channels, index + q * channels);
    else
      max_of_window(taps, taps.count, window, channels, y + q * channels, index + q * channels);
  }
}

// Each input position collects the gradients of the windows that cover it, so nothing is written twice.
template <class T>
void max_pool_gradient_row(const PoolParams& p, const T* dy, const uint8_t* index, int64_t out_height,
                           int64_t out_width, int64_t channels, int64_t h, int64_t width, const Range* covering_columns,
                           T* dx, bool streaming) {
  const Range rows = covering(p, h, out_height);
  const int64_t row_count = rows.end - rows.begin;
  for (int64_t w = 0; w < width; ++w, dx += channels) {
    const Range columns = covering_columns[w];
    const int64_t column_count = columns.end - columns.begin;
    const int64_t first = (rows.begin * out_width + columns.begin) * channels;
    const int64_t first_tap = (h + p.pad - rows.begin * p.stride) * p.window + (w + p.pad - columns.begin * p.stride);
    auto collect = [&](auto down, auto across) {
      for_vectors(0, channels, [&](int64_t c, auto n) {
        Vec total{};
        for (int64_t a = 0; a < down; ++a) {
          for (int64_t b = 0; b < across; ++b) {
            const int64_t i = first + (a * out_width + b) * channels + c,
                          tap = first_tap - (a * p.window + b) * p.stride;
            total += keep(equal(get_bytes(index + i, n), VecI{} + int32_t(tap)), get(dy + i, n));
          }
        }
        put_or_stream(dx + c, total, n, streaming);
      });
    };
    constexpr std::integral_constant<int64_t, 1> kOne;  // unrolled: the counts of 3 x 3 windows with stride 2
    constexpr std::integral_constant<int64_t, 2> kTwo;
    if (row_count == 1 && column_count == 1)
      collect(kOne, kOne);
    else if (row_count == 1 && column_count == 2)
      collect(kOne, kTwo);
    else if (row_count == 2 && column_count == 1)
      collect(kTwo, kOne);
    else if (row_count == 2 && column_count == 2)
      collect(kTwo, kTwo);
    else
      collect(row_count, column_count);
  }
}

void check(const PoolParams& p) {
  COSS_CHECK(p.window >= 1 && p.window <= kMaxWindow && p.stride >= 1 && 2 * p.pad <= p.window,
             "[max_pool] a window of " + std::to_string(p.window) + " with padding " + std::to_string(p.pad) +
                 " and stride " + std::to_string(p.stride) + ": the window is 1 to 15, the padding at most half of it");
}

}  // namespace

void max_pool_forward(Context&, const PoolParams& p, const Tensor& x, Tensor& y, Tensor& index) {
  check(p);
  const int64_t height = x.shape()[1], width = x.shape()[2], channels = x.shape()[3];
  const int64_t out_height = y.shape()[1], out_width = y.shape()[2];
  dispatch("max_pool", x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    T* out = y.mutable_data<T>();
    uint8_t* where = index.mutable_data<uint8_t>();
    parallel_ranges(y.shape()[0] * out_height, 1, 8 * out_width * channels, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const int64_t offset = row * out_width * channels;
        max_pool_row(p, in + row / out_height * height * width * channels, height, width, channels, row % out_height,
                     out_width, out + offset, where + offset);
      }
    });
  });
}

void max_pool_backward(Context& ctx, const PoolParams& p, const Tensor& dy, const Tensor& index, Tensor& dx) {
  check(p);
  const int64_t height = dx.shape()[1], width = dx.shape()[2], channels = dx.shape()[3];
  const int64_t out_height = dy.shape()[1], out_width = dy.shape()[2];
  Scratch scratch(ctx, Scratch::size_of<Range>(width));
  Range* columns = scratch.take<Range>(width);
  for (int64_t w = 0; w < width; ++w) columns[w] = covering(p, w, out_width);
  const bool streaming = worth_streaming(dx);
  dispatch("max_pool", dy.dtype(), [&]<class T>() {
    const T* in = dy.data<T>();
    const uint8_t* where = index.data<uint8_t>();
    T* out = dx.mutable_data<T>();
    parallel_ranges(dx.shape()[0] * height, 1, 4 * width * channels, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const int64_t image = row / height * out_height * out_width * channels;
        max_pool_gradient_row(p, in + image, where + image, out_height, out_width, channels, row % height, width,
                              columns, out + row * width * channels, streaming);
      }
      stream_fence();
    });
  });
}

void mean_hw_forward(Context& ctx, const Tensor& x, Tensor& y) {
  const int64_t images = x.shape()[0], positions = x.shape()[1] * x.shape()[2], channels = x.shape()[3];
  const int parts = threads_for(int64_t(x.bytes()));
  Scratch scratch(ctx, Scratch::size_of<float>(parts * channels));
  float* sums = scratch.take<float>(parts * channels);
  dispatch("mean_hw", x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    T* out = y.mutable_data<T>();
    parallel_parts(images, 1, parts, [=](int part, int64_t begin, int64_t end) {
      float* sum = sums + part * channels;
      for (int64_t image = begin; image < end; ++image) {
        const T* from = in + image * positions * channels;
        T* to = out + image * channels;
        std::fill_n(sum, channels, 0.0f);
        auto add = [&](int64_t first, auto count) {
          for_vectors(0, channels, [&](int64_t c, auto n) {
            Vec total = get(sum + c, n);
            for (int i = 0; i < count; ++i) total += get(from + (first + i) * channels + c, n);
            put(sum + c, total, n);
          });
        };
        int64_t i = 0;
        for (; i + 8 <= positions; i += 8) add(i, std::integral_constant<int, 8>{});
        for (; i < positions; ++i) add(i, std::integral_constant<int, 1>{});
        for_vectors(0, channels, [&](int64_t c, auto n) { put(to + c, get(sum + c, n) / float(positions), n); });
      }
    });
  });
}

void mean_hw_backward(Context&, const Tensor& dy, Tensor& dx) {
  const int64_t images = dx.shape()[0], positions = dx.shape()[1] * dx.shape()[2], channels = dx.shape()[3];
  dispatch("mean_hw", dy.dtype(), [&]<class T>() {
    const T* in = dy.data<T>();
    T* out = dx.mutable_data<T>();
    parallel_ranges(images, 1, positions * channels * int64_t(sizeof(T)), [=](int64_t begin, int64_t end) {
      for (int64_t image = begin; image < end; ++image) {
        const T* from = in + image * channels;
        T* to = out + image * positions * channels;
        for_vectors(0, channels, [&](int64_t c, auto n) { put(to + c, get(from + c, n) / float(positions), n); });
        for (int64_t i = 1; i < positions; ++i) std::copy_n(to, channels, to + i * channels);
      }
    });
  });
}

void shortcut_a_forward(Context&, int64_t stride, int64_t before, const Tensor& x, Tensor& y) {
  const int64_t height = x.shape()[1], width = x.shape()[2], channels = x.shape()[3];
  const int64_t out_height = y.shape()[1], out_width = y.shape()[2], out_channels = y.shape()[3];
  dispatch("shortcut_a", x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    T* out = y.mutable_data<T>();
    parallel_ranges(y.shape()[0] * out_height, 1, out_width * out_channels * 4, [=](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const T* from = in + (row / out_height * height + row % out_height * stride) * width * channels;
        T* to = out + row * out_width * out_channels;
        for (int64_t w = 0; w < out_width; ++w, to += out_channels) {
          std::fill_n(to, before, T());
          std::copy_n(from + w * stride * channels, channels, to + before);
          std::fill_n(to + before + channels, out_channels - before - channels, T());
        }
      }
    });
  });
}

void shortcut_a_backward(Context&, int64_t stride, int64_t before, const Tensor& dy, Tensor& dx) {
  const int64_t height = dx.shape()[1], width = dx.shape()[2], channels = dx.shape()[3];
  const int64_t out_height = dy.shape()[1], out_width = dy.shape()[2], out_channels = dy.shape()[3];
  dispatch("shortcut_a", dy.dtype(), [&]<class T>() {
    const T* in = dy.data<T>();
    T* out = dx.mutable_data<T>();
    parallel_ranges(dx.shape()[0] * height, 1, width * channels * 4, [=](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const int64_t h = row % height;
        T* to = out + row * width * channels;
        std::fill_n(to, width * channels, T());
        if (h % stride != 0) continue;
        const T* from = in + (row / height * out_height + h / stride) * out_width * out_channels + before;
        for (int64_t w = 0; w < width; w += stride)
          std::copy_n(from + w / stride * out_channels, channels, to + w * channels);
      }
    });
  });
}

void avg_pool_forward(Context&, const PoolParams& p, const Tensor& x, Tensor& y) {
  const int64_t height = x.shape()[1], width = x.shape()[2], channels = x.shape()[3];
  const int64_t out_height = y.shape()[1], out_width = y.shape()[2];
  const float share = 1 / float(p.window * p.window);
  dispatch("avg_pool", x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    T* out = y.mutable_data<T>();
    const int64_t bytes = (p.stride * p.stride + 1) * out_width * channels * int64_t(sizeof(T));
    parallel_ranges(y.shape()[0] * out_height, 1, bytes, [=](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const int64_t h = row % out_height;
        const Range rows = taps_inside(p, h, height);
        const T* image = in + row / out_height * height * width * channels;
        for (int64_t q = 0; q < out_width; ++q) {
          const Range columns = taps_inside(p, q, width);
          const T* window = image + ((h * p.stride - p.pad) * width + q * p.stride - p.pad) * channels;
          T* to = out + (row * out_width + q) * channels;
          for_vectors(0, channels, [&](int64_t c, auto n) {
            Vec sum{};
            for (int64_t r = rows.begin; r < rows.end; ++r)
              for (int64_t s = columns.begin; s < columns.end; ++s)
                sum += get(window + (r * width + s) * channels + c, n);
            put(to + c, sum * share, n);
          });
        }
      }
    });
  });
}

void avg_pool_backward(Context&, const PoolParams& p, const Tensor& dy, Tensor& dx) {
  const int64_t height = dx.shape()[1], width = dx.shape()[2], channels = dx.shape()[3];
  const int64_t out_height = dy.shape()[1], out_width = dy.shape()[2];
  const float share = 1 / float(p.window * p.window);
  dispatch("avg_pool", dy.dtype(), [&]<class T>() {
    const T* in = dy.data<T>();
    T* out = dx.mutable_data<T>();
    parallel_ranges(dx.shape()[0] * height, 1, 2 * width * channels * int64_t(sizeof(T)),
                    [=](int64_t begin, int64_t end) {
                      for (int64_t row = begin; row < end; ++row) {
                        const Range rows = covering(p, row % height, out_height);
                        const T* image = in + row / height * out_height * out_width * channels;
                        for (int64_t w = 0; w < width; ++w) {
                          const Range columns = covering(p, w, out_width);
                          T* to = out + (row * width + w) * channels;
                          for_vectors(0, channels, [&](int64_t c, auto n) {
                            Vec sum{};
                            for (int64_t a = rows.begin; a < rows.end; ++a)
                              for (int64_t b = columns.begin; b < columns.end; ++b)
                                sum += get(image + (a * out_width + b) * channels + c, n);
                            put(to + c, sum * share, n);
                          });
                        }
                      }
                    });
  });
}

}  // namespace coss::cpu
