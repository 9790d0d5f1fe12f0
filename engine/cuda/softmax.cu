// Softmax of rows and its logarithm. x is read once from memory and y written once; the second reading of a row, which
// writes y, finds it in the cache. A row has a warp up to 512 columns, 128 threads up to 8192, then 1024.
#include "engine/cuda/softmax_row.h"
#include "engine/dispatch.h"
#include "engine/kernels.h"

namespace coss::cuda {
namespace {

template <int kThreads, int N, bool kLog, class X, class Y>
__global__ void __launch_bounds__(kThreads == kWarp ? kRowBlock : kThreads)
    softmax_rows(const X* x, Y* y, int64_t rows, int width, float inverse) {
  const int64_t row = own_row<kThreads>();
  if (row >= rows) return;  // a whole warp
  const X* from = x + row * width;
  Y* to = y + row * width;
  const float exponent = inverse * kLog2E;
  const SoftmaxRow sums = softmax_row<kThreads, N>(from, row, width, exponent);
  const float of_sum = kLog ? logf(sums.sum) : 1.0f / sums.sum;
  for_row<kThreads, N>(from, row, width, [&](int i, float(&v)[N], auto whole) {
    COSS_UNROLL
    for (int k = 0; k < N; ++k) {
      const float difference = v[k] - sums.greatest;
      v[k] = kLog ? difference * inverse - of_sum : exp2f(difference * exponent) * of_sum;
    }
    store_group(to, i, width, v, whole);
  });
}

template <bool kLog>
void rows_of(const char* name, Context& ctx, float temperature, const Tensor& x, Tensor& y) {
  COSS_CHECK(temperature > 0, std::string("[") + name + "] the temperature must be positive");
  if (x.numel() == 0) return;
  const int64_t rows = x.shape().rows(), width = x.shape().back();
  const bool vectors = vectors_fit(x) && vectors_fit(y);
  dispatch(name, x.dtype(), [&]<class X>() {
    auto run = [&]<class Y>(Y* out) {
      for_row_threads(rows, width, vectors, [&]<int kThreads, int N>(unsigned blocks, unsigned threads) {
        launch(ctx, {name, blocks, threads}, softmax_rows<kThreads, N, kLog, X, Y>, x.data<X>(), out, rows, int(width),
               1 / temperature);
      });
    };
    if (y.dtype() == DType::f32)
      run(y.mutable_data<float>());
    else
      run(y.mutable_data<X>());
  });
}

}  // namespace

void softmax(Context& ctx, float temperature, const Tensor& x, Tensor& y) {
  rows_of<false>("softmax", ctx, temperature, x, y);
}

void log_softmax(Context& ctx, float temperature, const Tensor& x, Tensor& y) {
  rows_of<true>("log_softmax", ctx, temperature, x, y);
}

}  // namespace coss::cuda
