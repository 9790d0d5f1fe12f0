// Optimizers, moving averages, clipping, the loss scale and meters; the formulas are those of engine/cpu/optim.cpp.
//
// An update is one pass over flat memory that reads gradient, state and weights and writes state, weights, their
// compute copy and a zero gradient. Bytes per parameter with a 16-bit copy: SGD 26, AdamW 34, LARS 34 (its norms read
// gradient and weights once more). Values that change from step to step are read from the device, so that a recorded
// step serves a whole schedule.
#include <cmath>

#include "engine/cuda/flat.h"
#include "engine/dispatch.h"
#include "engine/kernels.h"

namespace coss::cuda {

namespace {

// The values of `scalars` that a kernel uses.
struct StepScalars {
  float rate, scale;
  bool skip;
};
__device__ inline StepScalars read_scalars(const float* s) { return {s[kLearningRate], s[kGradScale], s[kSkip] != 0}; }

// Stores new weights and their copy (null: none), and zeroes the gradient.
template <bool kWhole, int N, class Copy>
__device__ inline void put_weights(const float (&value)[N], int64_t i, int n, float* weight, Copy* copy) {
  put<kWhole>(weight + i, n, value);
  if (copy) put<kWhole>(copy + i, n, value);
}
template <bool kWhole, int N>
__device__ inline void put_zeros(float* grad, int64_t i, int n) {
  const float zeros[N] = {};
  put<kWhole>(grad + i, n, zeros);
}

// Calls body(copy) with the pointer of the compute copy, null where there is none. A network that computes in f32 may
// pass the master weights as the copy.
template <class Body>
void with_copy(const Tensor& weight, Tensor& compute, Body&& body) {
  if (compute.empty() || compute.raw() == weight.raw()) return body(static_cast<bf16*>(nullptr));
  dispatch("optimizer", compute.dtype(), [&]<class T>() { body(compute.mutable_data<T>()); });
}

// --- SGD and LARS ----------------------------------------------------------------------------------------------------

// Momentum SGD with the gradient multiplied by `factor` after decay.
template <class Copy>
struct Momentum {
  static constexpr int kItems = kFlatItems<float, Copy>;
  SgdParams p;
  float factor;
  const float* scalars;
  float *grad, *momentum, *weight;
  Copy* copy;
  struct Items {
    float grad[kItems], momentum[kItems], weight[kItems];
    StepScalars scalars;
  };
  bool aligned() const { return flat_aligned<kItems>(grad, momentum, weight, copy); }
  template <bool kWhole>
  __device__ void read(int64_t i, int n, Items& items) const {
    get<kWhole>(grad + i, n, items.grad);
    get<kWhole>(momentum + i, n, items.momentum);
    get<kWhole>(weight + i, n, items.weight);
    items.scalars = read_scalars(scalars);
  }
  template <bool kWhole>
  __device__ void write(int64_t i, int n, const Items& items) const {
    const StepScalars s = items.scalars;
    if (!s.skip) {
      const float own = p.nesterov ? s.rate : 0, from_momentum = p.nesterov ? s.rate * p.momentum : s.rate;
      float velocity[kItems], value[kItems];
      COSS_UNROLL
      for (int j = 0; j < kItems; ++j) {
        const float step = (items.grad[j] * s.scale + items.weight[j] * p.weight_decay) * factor;
        velocity[j] = items.momentum[j] * p.momentum + step;
        value[j] = items.weight[j] - velocity[j] * from_momentum - step * own;
      }
      put<kWhole>(momentum + i, n, velocity);
      put_weights<kWhole>(value, i, n, weight, copy);
    }
    put_zeros<kWhole, kItems>(grad, i, n);
  }
};

// LARS cuts each tensor into chunks, so that a block has one factor, and the order of additions in a norm does not
// depend on other tensors. The host does not know the sizes: the chunks of tensor t have the slots from offsets[t] /
// kChunk + t on, which are always enough, and a block finds its tensor by bisection. A few slots stay empty.
constexpr int64_t kChunk = 2 * kFlatTile<Momentum<float>>;

struct Chunk {
  int64_t tensor, begin, end;
};
__device__ inline Chunk chunk_of(int64_t slot, const int64_t* offsets, int64_t tensors) {
  int64_t low = 0, high = tensors;
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    if (offsets[middle] / kChunk + middle <= slot)
      low = middle;
    else
      high = middle;
  }
  const int64_t last = offsets[low + 1], begin = offsets[low] + (slot - offsets[low] / kChunk - low) * kChunk;
  return {low, begin, begin + kChunk < last ? begin + kChunk : last};
}

__device__ inline float square_sum_of(const float (&x)[4]) {
  return x[0] * x[0] + x[1] * x[1] + (x[2] * x[2] + x[3] * x[3]);
}

// partial[slot] = {sum of w^2, sum of g^2} of a chunk: floats within a thread (at most 20 elements), then doubles.
__global__ void __launch_bounds__(kFlatThreads)
    lars_norms_kernel(const int64_t* offsets, int64_t tensors, const float* weight, const float* grad, bool aligned,
                      double* partial) {
  const Chunk chunk = chunk_of(blockIdx.x, offsets, tensors);
  if (chunk.begin >= chunk.end) return;  // an empty slot, the whole block
  float weights = 0, grads = 0;
  for (int64_t i = chunk.begin / 4 * 4 + int64_t(threadIdx.x) * 4; i < chunk.end; i += kFlatThreads * 4) {
    float w[4], g[4];
    if (aligned && i >= chunk.begin && i + 4 <= chunk.end) {
      load<4>(weight + i, w);
      load<4>(grad + i, g);
    } else {
      const int64_t first = i < chunk.begin ? chunk.begin : i, last = i + 4 < chunk.end ? i + 4 : chunk.end;
      load_part<4>(weight + first, int(last - first), w);
      load_part<4>(grad + first, int(last - first), g);
    }
    weights += square_sum_of(w);
    grads += square_sum_of(g);
  }
  const double weight_sum = block_sum<kFlatThreads>(double(weights));
  const double grad_sum = block_sum<kFlatThreads>(double(grads));
  if (threadIdx.x == 0) {
    partial[2 * int64_t(blockIdx.x)] = weight_sum;
    partial[2 * int64_t(blockIdx.x) + 1] = grad_sum;
  }
}

// Computes factors[t] from the partial sums of tensor t, by one warp.
__global__ void __launch_bounds__(kFlatThreads)
    lars_factors_kernel(LarsParams p, const float* scalars, const int64_t* offsets, int64_t tensors,
                        const double* partial, float* factors) {
  const int64_t t = (int64_t(blockIdx.x) * kFlatThreads + threadIdx.x) / kWarp;
  if (t >= tensors) return;  // whole warps
  const int lane = int(threadIdx.x) % kWarp;
  const int64_t first = offsets[t] / kChunk + t, chunks = (offsets[t + 1] - offsets[t] + kChunk - 1) / kChunk;
  double weights = 0, grads = 0;
  for (int64_t c = lane; c < chunks; c += kWarp) {
    weights += partial[2 * (first + c)];
    grads += partial[2 * (first + c) + 1];
  }
  const double w = std::sqrt(warp_sum(weights)),
               g = std::sqrt(warp_sum(grads)) * double(std::fabs(scalars[kGradScale]));
  const bool adapted = w > 0 && g > 0;
  if (lane == 0)
    factors[t] = adapted ? float(double(p.trust) * w / (g + double(p.weight_decay) * w + double(p.eps))) : 1.0f;
}

template <class Copy>
__global__ void __launch_bounds__(kFlatThreads)
    lars_kernel(Momentum<Copy> op, const int64_t* offsets, int64_t tensors, const float* factors, bool aligned) {
  const Chunk chunk = chunk_of(blockIdx.x, offsets, tensors);
  if (chunk.begin >= chunk.end) return;  // an empty slot, the whole block
  op.factor = factors[chunk.tensor];
  flat_range(op, chunk.begin, chunk.end, aligned);
}

// --- AdamW -----------------------------------------------------------------------------------------------------------

// Values that depend on the step only. Two powers in double per thread would cost as much as its memory traffic.
struct AdamwStep {
  float decay, step_size, root_correction;
};
__global__ void adamw_prepare_kernel(AdamwParams p, const float* scalars, AdamwStep* prepared) {
  const double step = double(scalars[kStep]), rate = double(scalars[kLearningRate]);
  prepared->decay = float(1 - rate * double(p.weight_decay));
  prepared->step_size = float(rate / (1 - std::pow(double(p.beta1), step)));
  prepared->root_correction = float(1 / std::sqrt(1 - std::pow(double(p.beta2), step)));
}

template <class Copy>
struct Adamw {
  static constexpr int kItems = kFlatItems<float, Copy>;
  AdamwParams p;
  const float* scalars;
  const AdamwStep* prepared;
  float *grad, *m, *v, *weight;
  Copy* copy;
  struct Items {
    float grad[kItems], m[kItems], v[kItems], weight[kItems];
    StepScalars scalars;
    AdamwStep now;
  };
  bool aligned() const { return flat_aligned<kItems>(grad, m, v, weight, copy); }
  template <bool kWhole>
  __device__ void read(int64_t i, int n, Items& items) const {
    get<kWhole>(grad + i, n, items.grad);
    get<kWhole>(m + i, n, items.m);
    get<kWhole>(v + i, n, items.v);
    get<kWhole>(weight + i, n, items.weight);
    items.scalars = read_scalars(scalars);
    items.now = *prepared;
  }
  template <bool kWhole>
  __device__ void write(int64_t i, int n, const Items& items) const {
    if (!items.scalars.skip) {
      const AdamwStep now = items.now;
      float mean[kItems], square[kItems], value[kItems];
      COSS_UNROLL
      for (int j = 0; j < kItems; ++j) {
        const float slope = items.grad[j] * items.scalars.scale;
        mean[j] = items.m[j] * p.beta1 + slope * (1 - p.beta1);
        square[j] = items.v[j] * p.beta2 + slope * slope * (1 - p.beta2);
        value[j] = items.weight[j] * now.decay -
                   mean[j] / (std::sqrt(square[j]) * now.root_correction + p.eps) * now.step_size;
      }
      put<kWhole>(m + i, n, mean);
      put<kWhole>(v + i, n, square);
      put_weights<kWhole>(value, i, n, weight, copy);
    }
    put_zeros<kWhole, kItems>(grad, i, n);
  }
};

// --- the rest --------------------------------------------------------------------------------------------------------

struct Ema {
  static constexpr int kItems = kFlatItems<float>;
  float decay;
  const float* weight;
  float* average;
  struct Items {
    float weight[kItems], average[kItems];
  };
  bool aligned() const { return flat_aligned<kItems>(weight, average); }
  template <bool kWhole>
  __device__ void read(int64_t i, int n, Items& items) const {
    get<kWhole>(weight + i, n, items.weight);
    get<kWhole>(average + i, n, items.average);
  }
  template <bool kWhole>
  __device__ void write(int64_t i, int n, const Items& items) const {
    float value[kItems];
    COSS_UNROLL
    for (int j = 0; j < kItems; ++j) value[j] = items.average[j] * decay + items.weight[j] * (1 - decay);
    put<kWhole>(average + i, n, value);
  }
};

__global__ void clip_scale_kernel(float max_norm, const float* square_sum, float* scalars) {
  const float length = std::sqrt(square_sum[0]) * scalars[kGradScale];
  if (length > max_norm) scalars[kGradScale] *= max_norm / length;
}

// The division comes first, because this step's gradients were made with the old scale.
__global__ void update_loss_scale_kernel(LossScaleParams p, const float* square_sum, float* scaler, float* scalars) {
  const float scale = scaler[0], updates = scaler[1] + 1;
  scalars[kGradScale] /= scale;
  const bool finite = std::isfinite(square_sum[0]), due = updates >= p.interval;
  scalars[kSkip] = finite ? 0.0f : 1.0f;
  scaler[1] = finite && !due ? updates : 0.0f;
  if (!finite)
    scaler[0] = fmaxf(scale * p.backoff, 1.0f);
  else if (due && std::isfinite(scale * p.growth))
    scaler[0] = scale * p.growth;
}

// One warp; a lane has one term, or several where there are more than 32.
__global__ void meter_add_kernel(int64_t count, const int64_t* step, const float* terms, double* sums) {
  bool finite = true;
  for (int64_t t = threadIdx.x; t < count; t += kWarp) {
    sums[t] += double(terms[t]);
    finite = finite && std::isfinite(terms[t]);
  }
  const bool all_finite = __all_sync(kAllLanes, finite) != 0;
  if (threadIdx.x == 0 && !all_finite && sums[count] < 0) sums[count] = double(step[0]);
}

}  // namespace

void sgd_step(Context& ctx, const SgdParams& p, const Tensor& scalars, Tensor& grad, Tensor& momentum, Tensor& weight,
              Tensor& compute) {
  if (weight.numel() == 0) return;
  with_copy(weight, compute, [&]<class Copy>(Copy* copy) {
    run_flat(ctx, "sgd_step", weight.numel(),
             Momentum<Copy>{p, 1, scalars.data<float>(), grad.mutable_data<float>(), momentum.mutable_data<float>(),
                            weight.mutable_data<float>(), copy});
  });
}

void adamw_step(Context& ctx, const AdamwParams& p, const Tensor& scalars, Tensor& grad, Tensor& m, Tensor& v,
                Tensor& weight, Tensor& compute) {
  if (weight.numel() == 0) return;
  auto* prepared = static_cast<AdamwStep*>(ctx.workspace(sizeof(AdamwStep)));
  launch(ctx, {"adamw_prepare", 1, 1}, adamw_prepare_kernel, p, scalars.data<float>(), prepared);
  with_copy(weight, compute, [&]<class Copy>(Copy* copy) {
    run_flat(ctx, "adamw_step", weight.numel(),
             Adamw<Copy>{p, scalars.data<float>(), prepared, grad.mutable_data<float>(), m.mutable_data<float>(),
                         v.mutable_data<float>(), weight.mutable_data<float>(), copy});
  });
}

void lars_step(Context& ctx, const LarsParams& p, const Tensor& scalars, const Tensor& offsets, Tensor& grad,
               Tensor& momentum, Tensor& weight, Tensor& compute) {
  const SgdParams plain{.momentum = p.momentum, .weight_decay = p.weight_decay};
  if (!p.adapt) return sgd_step(ctx, plain, scalars, grad, momentum, weight, compute);
  const int64_t tensors = offsets.numel() - 1;
  if (weight.numel() == 0 || tensors <= 0) return;
  const int64_t slots = weight.numel() / kChunk + tensors;
  auto* partial =
      static_cast<double*>(ctx.workspace(size_t(slots) * 2 * sizeof(double) + size_t(tensors) * sizeof(float)));
  auto* factors = reinterpret_cast<float*>(partial + 2 * slots);
  const int64_t* ends = offsets.data<int64_t>();
  const float *w = weight.data<float>(), *g = grad.data<float>(), *s = scalars.data<float>();
  launch(ctx, {"lars_norms", unsigned(slots), kFlatThreads}, lars_norms_kernel, ends, tensors, w, g,
         flat_aligned<4>(w, g), partial);
  launch(ctx, {"lars_factors", blocks_for(tensors, kFlatThreads / kWarp), kFlatThreads}, lars_factors_kernel, p, s,
         ends, tensors, partial, factors);
  with_copy(weight, compute, [&]<class Copy>(Copy* copy) {
    const Momentum<Copy> op{
        plain, 1, s, grad.mutable_data<float>(), momentum.mutable_data<float>(), weight.mutable_data<float>(), copy};
    launch(ctx, {"lars_step", unsigned(slots), kFlatThreads}, lars_kernel<Copy>, op, ends, tensors, factors,
           op.aligned());
  });
}

void ema_step(Context& ctx, float decay, const Tensor& weight, Tensor& average) {
  if (weight.numel() == 0) return;
  run_flat(ctx, "ema_step", weight.numel(), Ema{decay, weight.data<float>(), average.mutable_data<float>()});
}

void clip_scale(Context& ctx, float max_norm, const Tensor& square_sum, Tensor& scalars) {
  launch(ctx, {"clip_scale", 1, 1}, clip_scale_kernel, max_norm, square_sum.data<float>(),
         scalars.mutable_data<float>());
}

void update_loss_scale(Context& ctx, const LossScaleParams& p, const Tensor& square_sum, Tensor& scaler,
                       Tensor& scalars) {
  launch(ctx, {"update_loss_scale", 1, 1}, update_loss_scale_kernel, p, square_sum.data<float>(),
         scaler.mutable_data<float>(), scalars.mutable_data<float>());
}

void meter_add(Context& ctx, const Tensor& step, const Tensor& terms, Tensor& sums) {
  launch(ctx, {"meter_add", 1, kWarp}, meter_add_kernel, terms.numel(), step.data<int64_t>(), terms.data<float>(),
         sums.mutable_data<double>());
}

}  // namespace coss::cuda
