// Optimizers, moving averages, clipping and meters: each one pass over flat memory.
//
// SGD and AdamW are PyTorch's. LARS is You et al.'s ("Large batch training of convolutional networks"): a tensor's
// gradient, decay included, is scaled by trust * |w| / (|g| + decay * |w|) and then goes through momentum SGD.
#include "engine/cpu/squares.h"
#include "engine/dispatch.h"
#include "engine/kernels.h"

namespace coss::cpu {

namespace {

// body(i, n, write) for every vector of the range [first, last) of a flat range; write(w) stores the new weights and
// their compute copy and zeroes the gradient. `states` is the number of state tensors.
template <class Body>
void update(int states, int64_t first, int64_t last, Tensor& grad, Tensor& weight, Tensor& compute, Body&& body) {
  float* g = grad.mutable_data<float>();
  float* w = weight.mutable_data<float>();
  // When the network computes in f32, the copy is the master itself.
  const bool copied = !compute.empty() && compute.raw() != weight.raw();
  auto run = [&]<class T>(T* copy) {
    parallel_ranges(last - first, 64, 16 + 8 * states, [&](int64_t begin, int64_t end) {
      for_vectors(first + begin, first + end, [&](int64_t i, auto n) {
        body(i, n, [&](Vec value) {
          put(w + i, value, n);
          put(g + i, Vec{}, n);
          if (copy) put(copy + i, value, n);
        });
      });
    });
  };
  if (copied)
    dispatch("optimizer", compute.dtype(), [&]<class T>() { run(compute.mutable_data<T>()); });
  else
    run(static_cast<bf16*>(nullptr));
}

// Returns true when the update is skipped; then only the gradient is zeroed.
bool skipped(const Tensor& scalars, Tensor& grad) {
  if (scalars.data<float>()[kSkip] == 0) return false;
  float* g = grad.mutable_data<float>();
  parallel_ranges(grad.numel(), 64, sizeof(float),
                  [=](int64_t begin, int64_t end) { std::fill(g + begin, g + end, 0.0f); });
  return true;
}

// Momentum SGD with the gradient multiplied by `factor` after decay.
void momentum_sgd(const SgdParams& p, float rate, float scale, float factor, int64_t first, int64_t last, Tensor& grad,
                  Tensor& momentum, Tensor& weight, Tensor& compute) {
  const float* g = grad.data<float>();
  const float* w = weight.data<float>();
  float* m = momentum.mutable_data<float>();
  const float own = p.nesterov ? rate : 0, from_momentum = p.nesterov ? rate * p.momentum : rate;
  update(1, first, last, grad, weight, compute, [=](int64_t i, auto n, auto&& write) {
    const Vec old = get(w + i, n);
    const Vec step = (get(g + i, n) * scale + old * p.weight_decay) * factor;
    const Vec velocity = get(m + i, n) * p.momentum + step;
    put(m + i, velocity, n);
    write(old - velocity * from_momentum - step * own);
  });
}

}  // namespace

void sgd_step(Context&, const SgdParams& p, const Tensor& scalars, Tensor& grad, Tensor& momentum, Tensor& weight,
              Tensor& compute) {
  if (skipped(scalars, grad)) return;
  const float* s = scalars.data<float>();
  momentum_sgd(p, s[kLearningRate], s[kGradScale], 1, 0, weight.numel(), grad, momentum, weight, compute);
}

void adamw_step(Context&, const AdamwParams& p, const Tensor& scalars, Tensor& grad, Tensor& m, Tensor& v,
                Tensor& weight, Tensor& compute) {
  if (skipped(scalars, grad)) return;
  const float* s = scalars.data<float>();
  const double step = double(s[kStep]), rate = double(s[kLearningRate]);
  const float scale = s[kGradScale];
  const float decay = float(1 - rate * double(p.weight_decay));
  const float step_size = float(rate / (1 - std::pow(double(p.beta1), step)));
  const float root_correction = float(1 / std::sqrt(1 - std::pow(double(p.beta2), step)));
  const float *g = grad.data<float>(), *w = weight.data<float>();
  float *first = m.mutable_data<float>(), *second = v.mutable_data<float>();
  update(2, 0, weight.numel(), grad, weight, compute, [=](int64_t i, auto n, auto&& write) {
    const Vec slope = get(g + i, n) * scale;
    const Vec mean = get(first + i, n) * p.beta1 + slope * (1 - p.beta1);
    const Vec square = get(second + i, n) * p.beta2 + slope * slope * (1 - p.beta2);
    put(first + i, mean, n);
    put(second + i, square, n);
    write(get(w + i, n) * decay - mean / (sqrt(square) * root_correction + p.eps) * step_size);
  });
}

void lars_step(Context& ctx, const LarsParams& p, const Tensor& scalars, const Tensor& offsets, Tensor& grad,
               Tensor& momentum, Tensor& weight, Tensor& compute) {
  if (skipped(scalars, grad)) return;
  const float* s = scalars.data<float>();
  const int64_t* ends = offsets.data<int64_t>();
  const SgdParams plain{.momentum = p.momentum, .weight_decay = p.weight_decay};
  auto norm = [&](const Tensor& x, int64_t first, int64_t last) {
    return std::sqrt(parallel_sum_of_squares(ctx, x.data<float>() + first, last - first));
  };
  for (int64_t t = 0; t + 1 < offsets.numel(); ++t) {
    const int64_t first = ends[t], last = ends[t + 1];
    double factor = 1;
    if (p.adapt) {
      const double w = norm(weight, first, last), g = norm(grad, first, last) * double(std::abs(s[kGradScale]));
      if (w > 0 && g > 0) factor = double(p.trust) * w / (g + double(p.weight_decay) * w + double(p.eps));
    }
    momentum_sgd(plain, s[kLearningRate], s[kGradScale], float(factor), first, last, grad, momentum, weight, compute);
  }
}

void ema_step(Context&, float decay, const Tensor& weight, Tensor& average) {
  const float* w = weight.data<float>();
  float* a = average.mutable_data<float>();
  parallel_ranges(weight.numel(), 64, 12, [=](int64_t begin, int64_t end) {
    for_vectors(begin, end,
                [&](int64_t i, auto n) { put(a + i, get(a + i, n) * decay + get(w + i, n) * (1 - decay), n); });
  });
}

void clip_scale(Context&, float max_norm, const Tensor& square_sum, Tensor& scalars) {
  float& scale = scalars.mutable_data<float>()[kGradScale];
  const float length = std::sqrt(square_sum.data<float>()[0]) * scale;
  if (length > max_norm) scale *= max_norm / length;
}

// The division comes first, because this step's gradients were made with the old scale.
void update_loss_scale(Context&, const LossScaleParams& p, const Tensor& square_sum, Tensor& scaler, Tensor& scalars) {
  float *state = scaler.mutable_data<float>(), *values = scalars.mutable_data<float>();
  float &scale = state[0], &updates = state[1];
  values[kGradScale] /= scale;
  if (std::isfinite(square_sum.data<float>()[0])) {
    values[kSkip] = 0;
    updates += 1;
    if (updates >= p.interval) {
      if (std::isfinite(scale * p.growth)) scale *= p.growth;
      updates = 0;
    }
  } else {
    values[kSkip] = 1;
    scale = std::max(scale * p.backoff, 1.0f);
    updates = 0;
  }
}

void meter_add(Context&, const Tensor& step, const Tensor& terms, Tensor& sums) {
  const int64_t count = terms.numel();
  const float* values = terms.data<float>();
  double* totals = sums.mutable_data<double>();
  bool finite = true;
  for (int64_t t = 0; t < count; ++t) {
    totals[t] += double(values[t]);
    finite = finite && std::isfinite(values[t]);
  }
  if (!finite && totals[count] < 0) totals[count] = double(step.data<int64_t>()[0]);
}

}  // namespace coss::cpu
