// Small operations on the rows of a matrix, for losses: centering, the gradient of softmax, and transposition, which
// moves squares of sixteen by sixteen elements through registers.
#include "engine/cpu/parallel.h"
#include "engine/cpu/tile.h"
#include "engine/dispatch.h"
#include "engine/kernels.h"

namespace coss::cpu {

namespace {

constexpr int64_t kBlock = 4096;  // elements of a row that are added in float

// The sum of term(i, n) over a row; lanes from n on do not count.
template <class Term>
double row_sum(int64_t width, const Term& term) {
  double total = 0;
  for (int64_t begin = 0; begin < width; begin += kBlock) {
    Vec block{};
    for_vectors(begin, std::min(begin + kBlock, width),
                [&](int64_t i, auto n) { block += keep(first_lanes(n), term(i, n)); });
    total += sum(block);
  }
  return total;
}

// Writes rows first … first + count - 1 of the square that begins at x as columns of y. Whole means a full square.
template <class T, class Rows, class Columns>
void transpose_square(const T* x, int64_t x_width, T* y, int64_t y_width, Rows rows, Columns columns) {
  Vec square[kLanes] = {};
  for (int64_t r = 0; r < rows; ++r) square[r] = get(x + r * x_width, columns);
  transpose(square);
  for (int64_t c = 0; c < columns; ++c) put(y + c * y_width, square[c], rows);
}

}  // namespace

void center_rows(Context&, const Tensor& x, Tensor& y) {
  if (x.numel() == 0) return;
  const int64_t rows = x.shape().rows(), width = x.shape().back();
  dispatch("center_rows", x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    T* out = y.mutable_data<T>();
    parallel_ranges(rows, 1, width * int64_t(2 * sizeof(T)), [=](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const T* from = in + r * width;
        T* to = out + r * width;
        const float mean = float(row_sum(width, [&](int64_t i, auto n) { return get(from + i, n); }) / double(width));
        for_vectors(0, width, [&](int64_t i, auto n) { put(to + i, get(from + i, n) - mean, n); });
      }
    });
  });
}

void softmax_backward(Context&, float temperature, const Tensor& y, const Tensor& dy, Tensor& dx) {
  COSS_CHECK(temperature > 0, "[softmax_backward] the temperature must be positive");
  if (y.numel() == 0) return;
  const int64_t rows = y.shape().rows(), width = y.shape().back();
  const float inverse = 1 / temperature;
  dispatch("softmax_backward", y.dtype(), [&]<class T>() {
    const T *probabilities = y.data<T>(), *gradients = dy.data<T>();
    T* out = dx.mutable_data<T>();
    parallel_ranges(rows, 1, width * int64_t(3 * sizeof(T)), [=](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const T *p = probabilities + r * width, *g = gradients + r * width;
        T* to = out + r * width;
        const float mean = float(row_sum(width, [&](int64_t i, auto n) { return get(p + i, n) * get(g + i, n); }));
        for_vectors(0, width,
                    [&](int64_t i, auto n) { put(to + i, get(p + i, n) * ((get(g + i, n) - mean) * inverse), n); });
      }
    });
  });
}

void transpose(Context&, const Tensor& x, Tensor& y) {
  if (x.numel() == 0) return;
  const int64_t rows = x.shape()[0], columns = x.shape()[1];
  dispatch("transpose", x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    T* out = y.mutable_data<T>();
    // A thread writes whole rows of y; sixteen of x at a time stay in the cache.
    parallel_ranges(columns, kLanes, rows * int64_t(2 * sizeof(T)), [=](int64_t begin, int64_t end) {
      for_vectors(0, rows, [&](int64_t r, auto high) {
        for_vectors(begin, end, [&](int64_t c, auto wide) {
          transpose_square(in + r * columns + c, columns, out + c * rows + r, rows, high, wide);
        });
      });
    });
  });
}

}  // namespace coss::cpu
