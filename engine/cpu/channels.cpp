// Scales the channels of each image, and copies columns, to cut, join and shuffle channels.
#include "engine/cpu/columns.h"
#include "engine/cpu/nontemporal.h"
#include "engine/dispatch.h"
#include "engine/kernels.h"

namespace coss::cpu {

namespace {

// wide[c] = values[c % columns], c < wide.width
template <class T>
void spread(const WideRows& rows, const T* values, float* wide) {
  for_vectors(0, rows.columns, [&](int64_t c, auto n) { put(wide + c, get(values + c, n), n); });
  for (int64_t r = 1; r < rows.repeat; ++r) std::copy_n(wide, rows.columns, wide + r * rows.columns);
}

// Calls body(image, scratch) for every image; each thread has a scratch of `floats` floats.
template <class Body>
void for_each_image(Context& ctx, const Tensor& x, int64_t floats, Body&& body) {
  const int parts = threads_for(2 * int64_t(x.bytes()));
  Scratch scratch(ctx, size_t(parts) * Scratch::size_of<float>(floats));
  float* all = scratch.take<float>(0);
  const int64_t step = int64_t(Scratch::size_of<float>(floats) / sizeof(float));
  parallel_parts(x.shape()[0], 1, parts, [&](int part, int64_t begin, int64_t end) {
    for (int64_t image = begin; image < end; ++image) body(image, all + part * step);
    stream_fence();
  });
}

template <class T>
void copy_strided(const ColumnMap& map, const T* x, int64_t x_width, T* y, int64_t y_width, int64_t begin,
                  int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const T* from = x + row * x_width + map.from;
    T* to = y + row * y_width + map.to;
    if (map.from_stride == 1 && map.to_stride == 1)
      std::copy_n(from, map.count, to);
    else
      for (int64_t i = 0; i < map.count; ++i) to[i * map.to_stride] = from[i * map.from_stride];
  }
}

}  // namespace

void scale_channels_forward(Context& ctx, const Tensor& x, const Tensor& s, Tensor& y) {
  const int64_t channels = x.shape()[3], positions = x.shape()[1] * x.shape()[2];
  const WideRows wide(positions, channels);
  const bool streaming = worth_streaming(y);
  dispatch("scale_channels", x.dtype(), [&]<class T>() {
    const T *in = x.data<T>(), *factors = s.data<T>();
    T* out = y.mutable_data<T>();
    for_each_image(ctx, x, wide.width, [&](int64_t image, float* factor) {
      spread(wide, factors + image * channels, factor);
      const T* from = in + image * wide.elements;
      T* to = out + image * wide.elements;
      auto vector = [&](int64_t i, int64_t c, auto n) {
        put_or_stream(to + i, get(from + i, n) * load(factor + c), n, streaming);
      };
      const int64_t tail = wide.rows * wide.width;
      for (int64_t i = 0; i < tail; i += wide.width)
        for (int64_t c = 0; c < wide.width; c += kLanes) vector(i + c, c, Whole{});
      for_vectors(0, wide.elements - tail, [&](int64_t c, auto n) { vector(tail + c, c, n); });
    });
  });
}

// One thread sums an image, eight rows at a time, so the result does not depend on the number of threads.
void scale_channels_backward(Context& ctx, const Tensor& x, const Tensor& s, const Tensor& dy, Tensor& dx, Tensor& ds) {
  const int64_t channels = x.shape()[3], positions = x.shape()[1] * x.shape()[2];
  const WideRows wide(positions, channels);
  const bool streaming = worth_streaming(dx);
  dispatch("scale_channels", x.dtype(), [&]<class T>() {
    const T *in = x.data<T>(), *factors = s.data<T>(), *upstream = dy.data<T>();
    T *out = dx.mutable_data<T>(), *sums_out = ds.mutable_data<T>();
    for_each_image(ctx, x, 2 * wide.width, [&](int64_t image, float* factor) {
      float* sums = factor + wide.width;
      spread(wide, factors + image * channels, factor);
      std::fill_n(sums, wide.width, 0.0f);
      const T *from = in + image * wide.elements, *gradient = upstream + image * wide.elements;
      T* to = out + image * wide.elements;
      auto vector = [&](int64_t i, int64_t c, auto n) {
        const Vec d = get(gradient + i, n);
        put_or_stream(to + i, d * load(factor + c), n, streaming);
        return d * get(from + i, n);
      };
      auto add = [&](int64_t row, auto count) {
        for (int64_t c = 0; c < wide.width; c += kLanes) {
          Vec total{};
          for (int r = 0; r < count; ++r) total += vector((row + r) * wide.width + c, c, Whole{});
          store(sums + c, load(sums + c) + total);
        }
      };
      int64_t row = 0;
      for (; row + 8 <= wide.rows; row += 8) add(row, std::integral_constant<int, 8>{});
      for (; row < wide.rows; ++row) add(row, std::integral_constant<int, 1>{});
      const int64_t tail = wide.rows * wide.width;
      for_vectors(0, wide.elements - tail,
                  [&](int64_t c, auto n) { put(sums + c, get(sums + c, n) + vector(tail + c, c, n), n); });
      for (int64_t r = 1; r < wide.repeat; ++r)
        for (int64_t c = 0; c < channels; ++c) sums[c] += sums[r * channels + c];
      for_vectors(0, channels, [&](int64_t c, auto n) { put(sums_out + image * channels + c, get(sums + c, n), n); });
    });
  });
}

void copy_columns(Context&, const ColumnMap& map, const Tensor& x, Tensor& y) {
  const int64_t x_width = x.shape().back(), y_width = y.shape().back();
  COSS_ASSERT(x.dtype() == y.dtype() && x.shape().rows() == y.shape().rows());
  dispatch("copy_columns", x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    T* out = y.mutable_data<T>();
    parallel_ranges(x.shape().rows(), 1, 2 * map.count * int64_t(sizeof(T)),
                    [&](int64_t begin, int64_t end) { copy_strided(map, in, x_width, out, y_width, begin, end); });
  });
}

}  // namespace coss::cpu
