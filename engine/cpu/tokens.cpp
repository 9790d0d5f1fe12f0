// Tokens of vision transformers: squares of an image, class token and positions, and the mean.
#include "engine/cpu/parallel.h"
#include "engine/cpu/simd.h"
#include "engine/dispatch.h"
#include "engine/kernels.h"

namespace coss::cpu {

namespace {

// Calls copy(image byte, token byte, bytes) for every row of every square. One thread has all squares of a row of the
// grid.
template <class Copy>
void for_square_rows(int64_t size, const Tensor& image, Copy&& copy) {
  if (image.numel() == 0) return;
  const Shape& shape = image.shape();
  const int64_t across = shape[2] / size;
  const int64_t piece = size * shape[3] * int64_t(size_of(image.dtype()));  // bytes of a row of a square
  const int64_t strip = size * across * piece;                              // of a row of squares
  parallel_ranges(int64_t(image.bytes()) / strip, 1, 2 * strip, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      for (int64_t r = 0; r < size; ++r)
        for (int64_t square = 0; square < across; ++square)
          copy(i * strip + (r * across + square) * piece, i * strip + (square * size + r) * piece, size_t(piece));
  });
}

}  // namespace

void patches_forward(Context&, int64_t size, const Tensor& x, Tensor& y) {
  const char* from = static_cast<const char*>(x.raw());
  char* to = static_cast<char*>(y.mutable_raw());
  for_square_rows(size, x,
                  [=](int64_t image, int64_t token, size_t bytes) { std::memcpy(to + token, from + image, bytes); });
}

void patches_backward(Context&, int64_t size, const Tensor& dy, Tensor& dx) {
  const char* from = static_cast<const char*>(dy.raw());
  char* to = static_cast<char*>(dx.mutable_raw());
  for_square_rows(size, dx,
                  [=](int64_t image, int64_t token, size_t bytes) { std::memcpy(to + image, from + token, bytes); });
}

void join_tokens_forward(Context&, const Tensor& first, const Tensor& x, const Tensor& position, Tensor& y) {
  if (y.numel() == 0) return;
  const int64_t tokens = y.shape()[1], width = y.shape()[2], inner = x.shape()[1], more = tokens - inner;
  const bool shared = first.shape().rank == 1;
  const float* places = position.data<float>();
  dispatch("join_tokens", y.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    const T* firsts = first.empty() || shared ? nullptr : first.data<T>();
    const float* one = shared ? first.data<float>() : nullptr;
    T* out = y.mutable_data<T>();
    parallel_ranges(y.shape()[0] * tokens, 1, width * int64_t(2 * sizeof(T) + 4), [=](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const int64_t image = row / tokens, token = row % tokens;
        auto join = [&](const auto* from) {
          for_vectors(0, width, [&](int64_t c, auto n) {
            put(out + row * width + c, get(from + c, n) + get(places + token * width + c, n), n);
          });
        };
        if (token >= more)
          join(in + (image * inner + token - more) * width);
        else if (shared)
          join(one);
        else
          join(firsts + image * width);
      }
    });
  });
}

// Each thread has its own tokens and adds the images in order, so the sums do not depend on the number of threads.
void join_tokens_backward(Context&, const Tensor& dy, Tensor& dfirst, Tensor& dx, Tensor& dposition) {
  if (dy.numel() == 0) return;
  const int64_t images = dy.shape()[0], tokens = dy.shape()[1], width = dy.shape()[2];
  const int64_t inner = dx.shape()[1], more = tokens - inner;
  const bool shared = dfirst.shape().rank == 1;
  float* places = dposition.mutable_data<float>();
  dispatch("join_tokens", dy.dtype(), [&]<class T>() {
    const T* in = dy.data<T>();
    T* out = dx.mutable_data<T>();
    T* firsts = dfirst.empty() || shared ? nullptr : dfirst.mutable_data<T>();
    float* one = shared ? dfirst.mutable_data<float>() : nullptr;
    parallel_ranges(tokens, 1, images * width * int64_t(2 * sizeof(T)), [=](int64_t begin, int64_t end) {
      for (int64_t token = begin; token < end; ++token) {
        float* place = places + token * width;
        for (int64_t image = 0; image < images; ++image) {
          const T* from = in + (image * tokens + token) * width;
          for_vectors(0, width, [&](int64_t c, auto n) {
            const Vec g = get(from + c, n);
            put(place + c, get(place + c, n) + g, n);
            if (token < more && one) put(one + c, get(one + c, n) + g, n);
          });
          T* to = token >= more ? out + (image * inner + token - more) * width
                  : firsts      ? firsts + image * width
                                : nullptr;
          if (to) std::memcpy(static_cast<void*>(to), from, size_t(width) * sizeof(T));
        }
      }
    });
  });
}

void mean_tokens_forward(Context&, int64_t first, int64_t count, const Tensor& x, Tensor& y) {
  if (y.numel() == 0) return;
  const int64_t tokens = x.shape()[1], width = x.shape()[2];
  const float factor = 1 / float(count);
  dispatch("mean_tokens", x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    T* out = y.mutable_data<T>();
    parallel_ranges(x.shape()[0], 1, count * width * int64_t(sizeof(T)), [=](int64_t begin, int64_t end) {
      for (int64_t image = begin; image < end; ++image) {
        const T* from = in + (image * tokens + first) * width;
        for_vectors(0, width, [&](int64_t c, auto n) {
          Vec total{};
          for (int64_t t = 0; t < count; ++t) total += get(from + t * width + c, n);
          put(out + image * width + c, total * factor, n);
        });
      }
    });
  });
}

void mean_tokens_backward(Context&, int64_t first, int64_t count, const Tensor& dy, Tensor& dx) {
  if (dx.numel() == 0) return;
  const int64_t tokens = dx.shape()[1], width = dx.shape()[2];
  const float factor = 1 / float(count);
  dispatch("mean_tokens", dy.dtype(), [&]<class T>() {
    const T* in = dy.data<T>();
    T* out = dx.mutable_data<T>();
    parallel_ranges(dx.shape()[0] * tokens, 1, width * int64_t(sizeof(T)), [=](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const int64_t token = row % tokens;
        const float share = token >= first && token < first + count ? factor : 0;
        const T* from = in + row / tokens * width;
        for_vectors(0, width, [&](int64_t c, auto n) {
          put(out + row * width + c, share == 0 ? Vec{} : get(from + c, n) * share, n);
        });
      }
    });
  });
}

}  // namespace coss::cpu
