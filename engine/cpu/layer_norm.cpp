// Layer norm. A row stays in the first-level cache during several passes, so memory is read once and written once. The
// sums for the gradients of gamma and beta are taken in the pass that needs the same products.
#include "engine/cpu/parallel.h"
#include "engine/cpu/scratch.h"
#include "engine/cpu/simd.h"
#include "engine/dispatch.h"
#include "engine/kernels.h"

namespace coss::cpu {

void layer_norm_forward(Context&, float eps, const Tensor& x, const Tensor& gamma, const Tensor& beta, Tensor& y,
                        Tensor& mean, Tensor& rstd) {
  if (x.numel() == 0) return;
  const int64_t rows = x.shape().rows(), width = x.shape().back();
  const float *factor = gamma.data<float>(), *shift = beta.data<float>();
  float *means = mean.mutable_data<float>(), *rstds = rstd.mutable_data<float>();
  dispatch("layer_norm", x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    T* out = y.mutable_data<T>();
    parallel_ranges(rows, 1, width * int64_t(2 * sizeof(T)), [=](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const T* from = in + r * width;
        T* to = out + r * width;
        Vec total{}, squares{};
        for_vectors(0, width, [&](int64_t c, auto n) { total += get(from + c, n); });
        const float center = float(sum(total) / double(width));
        for_vectors(0, width, [&](int64_t c, auto n) {
          const Vec v = keep(first_lanes(n), get(from + c, n) - center);
          squares += v * v;
        });
        const float scale = float(1 / std::sqrt(sum(squares) / double(width) + double(eps)));
        for_vectors(0, width, [&](int64_t c, auto n) {
          put(to + c, (get(from + c, n) - center) * scale * get(factor + c, n) + get(shift + c, n), n);
        });
        means[r] = center;
        rstds[r] = scale;
      }
    });
  });
}

void layer_norm_backward(Context& ctx, const Tensor& x, const Tensor& gamma, const Tensor& mean, const Tensor& rstd,
                         const Tensor& dy, Tensor& dx, Tensor& dgamma, Tensor& dbeta) {
  if (x.numel() == 0) return;
  constexpr int64_t kBlock = 128;  // rows that are added in float before they go to double
  const int64_t rows = x.shape().rows(), width = x.shape().back();
  const float *factor = gamma.data<float>(), *means = mean.data<float>(), *rstds = rstd.data<float>();
  const int parts = threads_for(int64_t(3 * x.bytes()));
  Scratch scratch(ctx, Scratch::size_of<double>(parts * 2 * width) + Scratch::size_of<float>(parts * 2 * width));
  double* sums = scratch.take<double>(parts * 2 * width);  // dgamma, dbeta of each part
  float* blocks = scratch.take<float>(parts * 2 * width);
  std::fill_n(sums, parts * 2 * width, 0.0);
  dispatch("layer_norm", x.dtype(), [&]<class T>() {
    const T *in = x.data<T>(), *slope = dy.data<T>();
    T* out = dx.mutable_data<T>();
    parallel_parts(rows, 1, parts, [=](int part, int64_t begin, int64_t end) {
      float *of_gamma = blocks + part * 2 * width, *of_beta = of_gamma + width;
      for (int64_t first = begin; first < end; first += kBlock) {
        std::fill_n(of_gamma, 2 * width, 0.0f);
        for (int64_t r = first; r < std::min(first + kBlock, end); ++r) {
          const T *from = in + r * width, *g = slope + r * width;
          T* to = out + r * width;
          const float center = means[r], scale = rstds[r];
          Vec total{}, along{};
          for_vectors(0, width, [&](int64_t c, auto n) {
            const Vec d = get(g + c, n), product = d * ((get(from + c, n) - center) * scale), f = get(factor + c, n);
            put(of_gamma + c, get(of_gamma + c, n) + product, n);
            put(of_beta + c, get(of_beta + c, n) + d, n);
            total += d * f;
            along += product * f;
          });
          const float mean_slope = float(sum(total) / double(width)), mean_along = float(sum(along) / double(width));
          for_vectors(0, width, [&](int64_t c, auto n) {
            const Vec scaled = (get(from + c, n) - center) * scale;
            put(to + c, (get(g + c, n) * get(factor + c, n) - mean_slope - scaled * mean_along) * scale, n);
          });
        }
        for (int64_t i = 0; i < 2 * width; ++i) sums[part * 2 * width + i] += double(of_gamma[i]);
      }
    });
  });
  float* const targets[2] = {dgamma.mutable_data<float>(), dbeta.mutable_data<float>()};
  for (int side = 0; side < 2; ++side) {
    for (int64_t c = 0; c < width; ++c) {
      double total = double(targets[side][c]);
      for (int part = 0; part < parts; ++part) total += sums[(part * 2 + side) * width + c];
      targets[side][c] = float(total);
    }
  }
}

}  // namespace coss::cpu
