// Softmax of rows and its logarithm.
#include "engine/cpu/parallel.h"
#include "engine/cpu/softmax_row.h"
#include "engine/dispatch.h"
#include "engine/kernels.h"

namespace coss::cpu {

namespace {

// finish(difference, row) is the output for (x - greatest) / temperature.
template <class Finish>
void for_rows(const char* kernel, float temperature, const Tensor& x, Tensor& y, Finish&& finish) {
  COSS_CHECK(temperature > 0, std::string("[") + kernel + "] the temperature must be positive");
  if (x.numel() == 0) return;
  const int64_t rows = x.shape().rows(), columns = x.shape().back();
  const float inverse = 1 / temperature;
  dispatch(kernel, x.dtype(), y.dtype(), [&]<class X, class Y>() {
    const X* in = x.data<X>();
    Y* out = y.mutable_data<Y>();
    parallel_ranges(rows, 1, columns * 32, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const X* from = in + r * columns;
        Y* to = out + r * columns;
        const SoftmaxRow row = softmax_row(from, columns, inverse);
        const float of_sum = finish.of_sum(row.sum);
        for_vectors(0, columns, [&](int64_t i, auto n) {
          put(to + i, finish((get(from + i, n) - row.greatest) * inverse, of_sum), n);
        });
      }
    });
  });
}

struct Softmax {
  static float of_sum(double sum) { return float(1 / sum); }
  Vec operator()(Vec difference, float inverse_sum) const { return exp(difference) * inverse_sum; }
};
struct LogSoftmax {
  static float of_sum(double sum) { return float(std::log(sum)); }
  Vec operator()(Vec difference, float log_sum) const { return difference - log_sum; }
};

}  // namespace

void softmax(Context&, float temperature, const Tensor& x, Tensor& y) {
  for_rows("softmax", temperature, x, y, Softmax{});
}

void log_softmax(Context&, float temperature, const Tensor& x, Tensor& y) {
  for_rows("log_softmax", temperature, x, y, LogSoftmax{});
}

}  // namespace coss::cpu
