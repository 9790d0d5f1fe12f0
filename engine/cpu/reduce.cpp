// Sums over rows, sums of squares, and rows scaled to unit length.
#include "engine/cpu/columns.h"
#include "engine/cpu/squares.h"
#include "engine/dispatch.h"
#include "engine/kernels.h"

namespace coss::cpu {

namespace {

// beta * y; with beta == 0 it is 0 whatever the memory holds.
float kept(float beta, float y) { return beta == 0 ? 0 : beta * y; }

}  // namespace

void sum_rows(Context& ctx, float beta, const Tensor& x, Tensor& y) {
  const int64_t columns = y.numel();
  float* out = y.mutable_data<float>();
  if (columns == 0) return;
  const WideRows wide(x.numel() / columns, columns);
  Scratch scratch(ctx, column_sums_bytes<1>(wide));
  dispatch("sum_rows", x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    const double* sums = column_sums<1>(scratch, wide, threads_for(int64_t(x.bytes())),
                                        [=](int64_t i, int64_t, auto n, Vec* terms) { terms[0] = get(in + i, n); });
    for (int64_t c = 0; c < columns; ++c) out[c] = float(double(kept(beta, out[c])) + sums[c]);
  });
}

void sum_squares(Context& ctx, float beta, const Tensor& x, Tensor& y) {
  float* out = y.mutable_data<float>();
  dispatch("sum_squares", x.dtype(), [&]<class T>() {
    out[0] = float(double(kept(beta, out[0])) + parallel_sum_of_squares(ctx, x.data<T>(), x.numel()));
  });
}

void normalize_rows(Context&, float eps, const Tensor& x, Tensor& y) {
  if (x.numel() == 0) return;
  const int64_t rows = x.shape().rows(), columns = x.shape().back();
  dispatch("normalize_rows", x.dtype(), y.dtype(), [&]<class X, class Y>() {
    const X* in = x.data<X>();
    Y* out = y.mutable_data<Y>();
    parallel_ranges(rows, 1, columns * int64_t(sizeof(X) + sizeof(Y)), [=](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const X* row = in + r * columns;
        Y* to = out + r * columns;
        const float factor = float(1 / std::max(std::sqrt(sum_of_squares(row, columns)), double(eps)));
        for_vectors(0, columns, [&](int64_t c, auto n) { put(to + c, get(row + c, n) * factor, n); });
      }
    });
  });
}

void normalize_rows_backward(Context&, float eps, const Tensor& x, const Tensor& dy, Tensor& dx) {
  if (x.numel() == 0) return;
  const int64_t rows = x.shape().rows(), columns = x.shape().back();
  dispatch("normalize_rows", x.dtype(), dy.dtype(), [&]<class X, class Y>() {
    const X* in = x.data<X>();
    const Y* slope = dy.data<Y>();
    X* out = dx.mutable_data<X>();
    parallel_ranges(rows, 1, columns * int64_t(2 * sizeof(X) + sizeof(Y)), [=](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const X* row = in + r * columns;
        const Y* g = slope + r * columns;
        X* to = out + r * columns;
        const double squares = sum_of_squares(row, columns), norm = std::sqrt(squares);
        float along = 0;  // shorter rows were divided by a constant
        if (norm > double(eps)) {
          Vec product{};
          for_vectors(0, columns, [&](int64_t c, auto n) { product += get(row + c, n) * get(g + c, n); });
          along = float(sum(product) / squares);
        }
        const float factor = float(1 / std::max(norm, double(eps)));
        for_vectors(0, columns,
                    [&](int64_t c, auto n) { put(to + c, (get(g + c, n) - get(row + c, n) * along) * factor, n); });
      }
    });
  });
}

}  // namespace coss::cpu
