// Batch norm + residual add + activation as one operation, forward and backward in two passes over memory each, and the
// folding of a frozen norm into convolution weights.
//
// Bytes, for a tensor of n: forward reads x twice and the residual once, writes y and n/16 of mask; backward reads dy,
// x and the mask twice and writes dx (and dresidual). The first pass leaves partial sums per channel (columns.h). For
// small tensors each block of the second pass adds them up itself; else a small kernel between the passes does. The
// second pass begins with the last rows, which are still in the cache from the first. A thread keeps its eight channels
// in both. silu and hardswish have no mask: backward computes their input again from x, which it reads anyway.
#include "engine/cuda/columns.h"
#include "engine/cuda/device.h"
#include "engine/dispatch.h"
#include "engine/kernels.h"

namespace coss::cuda {

namespace {

constexpr int kApplyThreads = 256, kApplyBlocks = 4;  // resident on a multiprocessor, at 64 registers a thread
constexpr int kBackwardBlocks = 3;                    // three values per channel and two inputs need 80 registers
constexpr int kSmoothBlocks = 2;                      // for silu and hardswish: a fourth value, and the slope
constexpr int kApplyWidth = 32;             // vectors side by side, at most: 512 bytes of a row of 16-bit elements
constexpr int64_t kOwnSumBytes = 32 << 10;  // partial sums that a block of the second pass adds up itself

// Whether backward computes the activation's slope from x. relu stands for all activations that have a mask.
template <Activation kAct>
constexpr bool kSmooth = !kClips<kAct>;
template <Activation kAct>
constexpr int kBlocksOfSums = kSmooth<kAct> ? 1 : kSumBlocks;
template <Activation kAct>
constexpr int kBlocksOfBackward = kSmooth<kAct> ? kSmoothBlocks : kBackwardBlocks;
bool masked(Activation kind) { return clips(kind) && kind != Activation::none; }

bool aligned(const Tensor& x) { return x.empty() || cuda::aligned(x.raw()); }

// An epilogue turns the finished sums of a channel into the numbers that the second pass applies to its elements.
// Forward: y = act(x * factor + offset + residual).
struct ForwardEpilogue {
  static constexpr int kTerms = 2, kNumbers = 2;
  struct Numbers {  // of one channel
    float value[kNumbers];
  };
  float* shift = nullptr;  // shift of the sums; the first pass writes it
  const float *gamma = nullptr, *beta = nullptr;
  float *running_mean = nullptr, *running_var = nullptr, *mean = nullptr, *rstd = nullptr;
  int64_t rows = 0;
  float eps = 0, momentum = 0;

  // `sums` are those of x - shift and of its square. One caller per channel stores the results (`keep`).
  __device__ Numbers finish(int64_t c, const double (&sums)[kTerms], bool keep) const {
    const double count = double(rows), delta = sums[0] / count;
    const double center = double(shift[c]) + delta, spread = sums[1] / count - delta * delta;
    const double var = spread < 0 ? 0.0 : spread;  // keeps NaN
    const double inverse = 1 / sqrt(var + double(eps)), scale = double(gamma[c]) * inverse;
    if (keep) {
      mean[c] = float(center);
      rstd[c] = float(inverse);
      running_mean[c] += momentum * float(center - double(running_mean[c]));
      running_var[c] += momentum * float(var * count / (count - 1) - double(running_var[c]));
    }
    return {{float(scale), float(double(beta[c]) - center * scale)}};
  }
};

// Backward: dx = gamma * rstd * (dz - mean(dz) - xhat * mean(dz * xhat)), as dz * of_dz + x * of_x + constant. The
// activation's input is x * of_dz + a fourth number.
template <Activation kAct>
struct BackwardEpilogue {
  static constexpr int kTerms = 2, kNumbers = kSmooth<kAct> ? 4 : 3;
  struct Numbers {
    float value[kNumbers];
  };
  const float *gamma = nullptr, *beta = nullptr, *mean = nullptr, *rstd = nullptr;
  float *dgamma = nullptr, *dbeta = nullptr;
  int64_t rows = 0;

  // `sums` are those of dz and of dz * (x - mean).
  __device__ Numbers finish(int64_t c, const double (&sums)[kTerms], bool keep) const {
    const double inverse = double(rstd[c]), sum = sums[0], sum_xhat = sums[1] * inverse;
    const double scale = double(gamma[c]) * inverse, slope = -scale * inverse * sum_xhat / double(rows);
    if (keep) {
      dbeta[c] += float(sum);
      dgamma[c] += float(sum_xhat);
    }
    Numbers numbers{{float(scale), float(slope), float(-scale * sum / double(rows) - slope * double(mean[c]))}};
    if constexpr (kSmooth<kAct>) numbers.value[3] = float(double(beta[c]) - double(mean[c]) * scale);
    return numbers;
  }
};

// What the second pass gets from the first: partial sums, or (count == 0) the finished numbers.
struct Sums {
  float* partials = nullptr;
  int count = 0;
  float* numbers = nullptr;  // (kNumbers, columns)
};

template <class Epilogue>
__global__ void __launch_bounds__(kFinishThreads) finish_kernel(Epilogue epilogue, Sums sums, int64_t columns) {
  finish_columns<Epilogue::kTerms, kFinishThreads>(
      sums.partials, sums.count, columns, int64_t(blockIdx.x) * kFinishColumns, kFinishColumns,
      [=](int64_t c, const double(&total)[Epilogue::kTerms]) {
        const typename Epilogue::Numbers numbers = epilogue.finish(c, total, true);
        COSS_UNROLL
        for (int k = 0; k < Epilogue::kNumbers; ++k) sums.numbers[k * columns + c] = numbers.value[k];
      });
}

// The numbers of this thread's channels. All threads call it.
template <class Epilogue>
__device__ inline void channel_numbers(const Epilogue& epilogue, const Sums& sums, const Tiles& tiles, unsigned tile,
                                       unsigned b, const Place& place, float (&numbers)[Epilogue::kNumbers][kVector]) {
  COSS_SHARED(float, shared, Epilogue::kNumbers* kApplyThreads);
  const int64_t columns = tiles.columns;
  if (sums.count == 0) {
    if (!place.works) return;
    COSS_UNROLL
    for (int k = 0; k < Epilogue::kNumbers; ++k) load<kVector>(sums.numbers + k * columns + place.column, numbers[k]);
    return;
  }
  const int width = tiles.across * kVector;
  const int64_t first = int64_t(tile) * width;
  finish_columns<Epilogue::kTerms, kApplyThreads>(
      sums.partials, sums.count, columns, first, width, [&](int64_t c, const double(&total)[Epilogue::kTerms]) {
        const typename Epilogue::Numbers mine = epilogue.finish(c, total, b == 0);
        COSS_UNROLL
        for (int k = 0; k < Epilogue::kNumbers; ++k) shared[k * kApplyThreads + int(c - first)] = mine.value[k];
      });
  __syncthreads();
  if (!place.works) return;
  COSS_UNROLL
  for (int k = 0; k < Epilogue::kNumbers; ++k) {
    COSS_UNROLL
    for (int i = 0; i < kVector; ++i) numbers[k][i] = shared[k * kApplyThreads + int(place.column - first) + i];
  }
}

// --- forward ---------------------------------------------------------------------------------------------------------

// Sums of x - shift and its square. The shift is the mean of eight rows spread over x, the same for every block. It
// keeps all digits where the mean is far from zero.
template <class T, int N>
__global__ void __launch_bounds__(kSumThreads, kSumBlocks)
    norm_act_sums_kernel(Tiles tiles, const T* x, float* shift_out, float* partials) {
  constexpr int kSamples = 8;
  const unsigned tile = blockIdx.x % tiles.side, b = blockIdx.x / tiles.side;
  const Place place = place_of<N>(tiles, tile, b);
  const int64_t step = tiles.down * tiles.columns;
  float shift[N] = {};
  if (place.works) {
    float sample[kSamples][N];
    COSS_UNROLL
    for (int s = 0; s < kSamples; ++s)  // steps of a ninth seldom hit the same position in every image
      load<N>(x + tiles.rows * (s + 1) / (kSamples + 1) * tiles.columns + place.column, sample[s]);
    COSS_UNROLL
    for (int s = 0; s < kSamples; ++s) {
      COSS_UNROLL
      for (int j = 0; j < N; ++j) shift[j] += sample[s][j] * (1.0f / kSamples);
    }
    if (place.first == 0) store<N>(shift_out + place.column, shift);
  }
  float sums[2 * N] = {};
  for_rows<kRowsInFlight<T, N, 1>>(tiles, place, [&](auto count, int64_t i) {
    constexpr int kCount = decltype(count)::value;
    float in[kCount][N];
    COSS_UNROLL
    for (int u = 0; u < kCount; ++u) load<N>(x + i + u * step, in[u]);
    COSS_UNROLL
    for (int u = 0; u < kCount; ++u) {
      COSS_UNROLL
      for (int j = 0; j < N; ++j) {
        const float value = in[u][j] - shift[j];
        sums[j] += value;
        sums[N + j] += value * value;
      }
    }
  });
  write_partials<2, N>(tiles, tile, b, sums, partials);
}

template <class T, Activation kAct, bool kResidual>
__global__ void __launch_bounds__(kApplyThreads, kApplyBlocks)
    norm_act_kernel(Tiles tiles, ForwardEpilogue epilogue, Sums sums, const T* x, const T* residual, T* y,
                    uint8_t* mask) {
  const unsigned tile = blockIdx.x % tiles.side, b = tiles.count - 1 - blockIdx.x / tiles.side;
  const Place place = place_of<kVector>(tiles, tile, b);
  const int64_t step = tiles.down * tiles.columns;
  float numbers[2][kVector];
  channel_numbers(epilogue, sums, tiles, tile, b, place, numbers);
  for_rows<kRowsInFlight<T, kVector, kResidual ? 2 : 1>>(tiles, place, [&](auto count, int64_t i) {
    constexpr int kCount = decltype(count)::value;
    float in[kCount][kVector];
    [[maybe_unused]] float add[kCount][kVector];
    COSS_UNROLL
    for (int u = 0; u < kCount; ++u) {
      load<kVector>(x + i + u * step, in[u]);
      if constexpr (kResidual) load<kVector>(residual + i + u * step, add[u]);
    }
    COSS_UNROLL
    for (int u = 0; u < kCount; ++u) {
      [[maybe_unused]] unsigned bits = 0;
      COSS_UNROLL
      for (int j = 0; j < kVector; ++j) {
        float z = in[u][j] * numbers[0][j] + numbers[1][j];
        if constexpr (kResidual) z += add[u][j];
        if constexpr (kClips<kAct>) bits |= passes_gradient<kAct>(z) ? 1u << j : 0u;
        in[u][j] = activated<kAct>(z);
      }
      store(y + i + u * step, in[u]);
      if constexpr (kClips<kAct> && kAct != Activation::none) mask[(i + u * step) / kVector] = uint8_t(bits);
    }
  });
}

// For any number of channels and any alignment. A thread has eight consecutive elements, which are one byte of the
// mask.
template <class T, Activation kAct>
__global__ void __launch_bounds__(kApplyThreads)
    norm_act_any_kernel(int64_t numel, int64_t columns, Sums sums, const T* x, const T* residual, T* y, uint8_t* mask) {
  const int64_t i = (int64_t(blockIdx.x) * kApplyThreads + threadIdx.x) * kVector;
  if (i >= numel) return;
  const int n = int(min(int64_t(kVector), numel - i));
  int64_t c = i % columns;
  [[maybe_unused]] unsigned bits = 0;
  for (int j = 0; j < n; ++j) {
    float z = to_float(x[i + j]) * sums.numbers[c] + sums.numbers[columns + c];
    if (residual) z += to_float(residual[i + j]);
    if constexpr (kClips<kAct>) bits |= passes_gradient<kAct>(z) ? 1u << j : 0u;
    y[i + j] = from_float<T>(activated<kAct>(z));
    c = c + 1 == columns ? 0 : c + 1;
  }
  if constexpr (kClips<kAct> && kAct != Activation::none) mask[i / kVector] = uint8_t(bits);
}

// --- backward --------------------------------------------------------------------------------------------------------

// Eight bits of the mask, or ones where there is no mask.
template <Activation kAct>
__device__ inline unsigned mask_bits(const uint8_t* mask, int64_t i) {
  return kAct == Activation::relu ? unsigned(mask[i / 8]) >> i % 8 : ~0u;
}

// Sums of dz and dz * (x - mean), where dz is dy as far as the activation passes it.
template <class T, int N, Activation kAct>
__global__ void __launch_bounds__(kSumThreads, kBlocksOfSums<kAct>)
    norm_act_backward_sums_kernel(Tiles tiles, BackwardEpilogue<kAct> epilogue, const T* x, const uint8_t* mask,
                                  const T* dy, float* partials) {
  const unsigned tile = blockIdx.x % tiles.side, b = blockIdx.x / tiles.side;
  const Place place = place_of<N>(tiles, tile, b);
  const int64_t step = tiles.down * tiles.columns;
  float center[N] = {};
  [[maybe_unused]] float scale[N] = {}, offset[N] = {};
  if (place.works) {
    COSS_UNROLL
    for (int j = 0; j < N; ++j) {
      center[j] = epilogue.mean[place.column + j];
      if constexpr (kSmooth<kAct>) {
        scale[j] = epilogue.gamma[place.column + j] * epilogue.rstd[place.column + j];
        offset[j] = epilogue.beta[place.column + j];
      }
    }
  }
  float sums[2 * N] = {};
  for_rows<kRowsInFlight<T, N, 2>>(tiles, place, [&](auto count, int64_t i) {
    constexpr int kCount = decltype(count)::value;
    float in[kCount][N], dz[kCount][N];
    [[maybe_unused]] unsigned bits[kCount];
    COSS_UNROLL
    for (int u = 0; u < kCount; ++u) {
      const int64_t at = i + u * step;
      load<N>(dy + at, dz[u]);
      load<N>(x + at, in[u]);
      bits[u] = mask_bits<kAct>(mask, at);
    }
    COSS_UNROLL
    for (int u = 0; u < kCount; ++u) {
      COSS_UNROLL
      for (int j = 0; j < N; ++j) {
        const float from_mean = in[u][j] - center[j];
        float value;
        if constexpr (kSmooth<kAct>)
          value = passed_gradient<kAct>(from_mean * scale[j] + offset[j], dz[u][j]);
        else
          value = bits[u] >> j & 1u ? dz[u][j] : 0.0f;
        sums[j] += value;
        sums[N + j] += value * from_mean;
      }
    }
  });
  write_partials<2, N>(tiles, tile, b, sums, partials);
}

// dx may be dy: a thread reads its elements before it writes them.
template <class T, Activation kAct>
__global__ void __launch_bounds__(kApplyThreads, kBlocksOfBackward<kAct>)
    norm_act_backward_kernel(Tiles tiles, BackwardEpilogue<kAct> epilogue, Sums sums, const T* x, const uint8_t* mask,
                             const T* dy, T* dx, T* dresidual) {
  const unsigned tile = blockIdx.x % tiles.side, b = tiles.count - 1 - blockIdx.x / tiles.side;
  const Place place = place_of<kVector>(tiles, tile, b);
  const int64_t step = tiles.down * tiles.columns;
  float numbers[BackwardEpilogue<kAct>::kNumbers][kVector];
  channel_numbers(epilogue, sums, tiles, tile, b, place, numbers);
  for_rows<kRowsInFlight<T, kVector, 2>>(tiles, place, [&](auto count, int64_t i) {
    constexpr int kCount = decltype(count)::value;
    float in[kCount][kVector], dz[kCount][kVector];
    [[maybe_unused]] unsigned bits[kCount];
    COSS_UNROLL
    for (int u = 0; u < kCount; ++u) {
      const int64_t at = i + u * step;
      load<kVector>(dy + at, dz[u]);
      load<kVector>(x + at, in[u]);
      bits[u] = mask_bits<kAct>(mask, at);
    }
    COSS_UNROLL
    for (int u = 0; u < kCount; ++u) {
      COSS_UNROLL
      for (int j = 0; j < kVector; ++j) {
        if constexpr (kSmooth<kAct>)
          dz[u][j] = passed_gradient<kAct>(in[u][j] * numbers[0][j] + numbers[3][j], dz[u][j]);
        else
          dz[u][j] = bits[u] >> j & 1u ? dz[u][j] : 0.0f;
        in[u][j] = dz[u][j] * numbers[0][j] + (in[u][j] * numbers[1][j] + numbers[2][j]);
      }
      if (dresidual) store(dresidual + i + u * step, dz[u]);
      store(dx + i + u * step, in[u]);
    }
  });
}

template <class T, Activation kAct>
__global__ void __launch_bounds__(kApplyThreads)
    norm_act_backward_any_kernel(int64_t numel, int64_t columns, Sums sums, const T* x, const uint8_t* mask,
                                 const T* dy, T* dx, T* dresidual) {
  const int64_t i = (int64_t(blockIdx.x) * kApplyThreads + threadIdx.x) * kVector;
  if (i >= numel) return;
  const int n = int(min(int64_t(kVector), numel - i));
  [[maybe_unused]] const unsigned bits = mask_bits<kAct>(mask, i);
  const float* numbers = sums.numbers;
  int64_t c = i % columns;
  for (int j = 0; j < n; ++j) {
    const float in = to_float(x[i + j]);
    float dz = to_float(dy[i + j]);
    if constexpr (kSmooth<kAct>)
      dz = passed_gradient<kAct>(in * numbers[c] + numbers[3 * columns + c], dz);
    else
      dz = bits >> j & 1u ? dz : 0.0f;
    const float value = dz * numbers[c] + (in * numbers[columns + c] + numbers[2 * columns + c]);
    if (dresidual) dresidual[i + j] = from_float<T>(dz);
    dx[i + j] = from_float<T>(value);
    c = c + 1 == columns ? 0 : c + 1;
  }
}

// --- launches --------------------------------------------------------------------------------------------------------

// The second pass's grid: many short blocks, which even out slow multiprocessors; fewer where each adds up the sums
// itself.
Tiles apply_tiles(Context& ctx, int64_t rows, int64_t columns, int unroll, bool own_sums) {
  Tiles tiles = make_tiles(rows, columns, kVector, kApplyThreads, kApplyWidth, kApplyWidth);
  const int64_t resident = int64_t(multiprocessors(ctx)) * kApplyBlocks;
  const int64_t pass = int64_t(tiles.down) * unroll, passes = (rows + pass - 1) / pass * tiles.side;
  const int64_t each = std::clamp<int64_t>(passes / (4 * resident), 1, 8);  // row passes of a block
  share_rows(tiles, own_sums ? resident / 2 : (passes + each - 1) / each, unroll);
  return tiles;
}

// Whether the blocks of the second pass add up the partial sums themselves, which saves a launch.
bool own_sums(Context& ctx, const Tiles& first, int terms) {
  const int64_t vectors = first.columns / kVector, width = tile_width(vectors, kApplyWidth, kApplyWidth) * kVector;
  return first.blocks() <= unsigned(multiprocessors(ctx)) &&
         int64_t(first.count) * terms * width * int64_t(sizeof(float)) <= kOwnSumBytes;
}

// The workspace of both directions: numbers (kNumbers, columns), shift (columns), partial sums.
template <class Epilogue>
Sums cut_workspace(Context& ctx, const Tiles& first, float** shift) {
  const int64_t columns = first.columns, count = int64_t(first.count);
  const int64_t numel = (Epilogue::kNumbers + 1 + count * Epilogue::kTerms) * columns;
  float* floats = static_cast<float*>(ctx.workspace(size_t(numel) * sizeof(float)));
  *shift = floats + Epilogue::kNumbers * columns;
  return {*shift + columns, int(count), floats};
}

template <class Epilogue>
void finish(Context& ctx, const Epilogue& epilogue, Sums& sums, int64_t columns) {
  launch(ctx, {"norm_act_finish", blocks_for(columns, kFinishColumns), kFinishThreads}, finish_kernel<Epilogue>,
         epilogue, sums, columns);
  sums.count = 0;
}

unsigned blocks_of_any(int64_t numel) { return blocks_for(numel, kApplyThreads * kVector); }

}  // namespace

void norm_act_forward(Context& ctx, const NormParams& p, const Tensor& x, const Tensor& gamma, const Tensor& beta,
                      const Tensor& residual, Tensor& running_mean, Tensor& running_var, Tensor& y, Tensor& mean,
                      Tensor& rstd, Tensor& mask) {
  const int64_t columns = x.shape().back(), rows = x.shape().rows();
  COSS_ASSERT(rows != 1);
  if (rows == 0) return;
  COSS_ASSERT(!masked(p.activation) || mask.numel() >= (x.numel() + 7) / 8);
  COSS_ASSERT(clips(p.activation) || residual.empty());
  ForwardEpilogue epilogue;
  epilogue.gamma = gamma.data<float>();
  epilogue.beta = beta.data<float>();
  epilogue.running_mean = running_mean.mutable_data<float>();
  epilogue.running_var = running_var.mutable_data<float>();
  epilogue.mean = mean.mutable_data<float>();
  epilogue.rstd = rstd.mutable_data<float>();
  epilogue.rows = rows;
  epilogue.eps = p.eps;
  epilogue.momentum = p.momentum;
  dispatch("norm_act", x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    const T* add = residual.empty() ? nullptr : residual.data<T>();
    T* out = y.mutable_data<T>();
    uint8_t* bits = masked(p.activation) ? mask.mutable_data<uint8_t>() : nullptr;
    auto run = [&]<int N>() {
      constexpr int kUnroll = kRowsInFlight<T, N, 1>;
      const Tiles first = sum_tiles<N>(ctx, rows, columns, int64_t(x.bytes()), kUnroll);
      Sums sums = cut_workspace<ForwardEpilogue>(ctx, first, &epilogue.shift);
      launch(ctx, {"norm_act_sums", first.blocks(), kSumThreads}, norm_act_sums_kernel<T, N>, first, in, epilogue.shift,
             sums.partials);
      const bool own = N == kVector && own_sums(ctx, first, ForwardEpilogue::kTerms);
      if (!own) finish(ctx, epilogue, sums, columns);
      dispatch_fused(p.activation, [&]<Activation kAct>() {
        if constexpr (N == kVector) {
          auto apply = [&]<bool kResidual>() {
            const Tiles tiles = apply_tiles(ctx, rows, columns, kRowsInFlight < T, N, kResidual ? 2 : 1 >, own);
            launch(ctx, {"norm_act", tiles.blocks(), kApplyThreads}, norm_act_kernel<T, kAct, kResidual>, tiles,
                   epilogue, sums, in, add, out, bits);
          };
          if constexpr (kClips<kAct>) {
            if (add) return apply.template operator()<true>();
          }
          apply.template operator()<false>();
        } else {
          launch(ctx, {"norm_act_any", blocks_of_any(x.numel()), kApplyThreads}, norm_act_any_kernel<T, kAct>,
                 x.numel(), columns, sums, in, add, out, bits);
        }
      });
    };
    if (columns % kVector == 0 && aligned(x) && aligned(residual) && aligned(y))
      run.template operator()<kVector>();
    else
      run.template operator()<1>();
  });
}

void norm_act_backward(Context& ctx, const NormParams& p, const Tensor& x, const Tensor& mask, const Tensor& gamma,
                       const Tensor& beta, const Tensor& mean, const Tensor& rstd, const Tensor& dy, Tensor& dx,
                       Tensor& dresidual, Tensor& dgamma, Tensor& dbeta) {
  if (x.numel() == 0) return;
  COSS_ASSERT(clips(p.activation) || dresidual.empty());
  const int64_t columns = x.shape().back(), rows = x.shape().rows();
  const bool vectors = columns % kVector == 0 && aligned(x) && aligned(dy) && aligned(dx) && aligned(dresidual);
  dispatch("norm_act", x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    const T* from = dy.data<T>();
    T* out = dx.mutable_data<T>();
    T* residual = dresidual.empty() ? nullptr : dresidual.mutable_data<T>();
    const uint8_t* bits = masked(p.activation) ? mask.data<uint8_t>() : nullptr;
    auto run = [&]<int N, Activation kAct>() {
      BackwardEpilogue<kAct> epilogue;
      epilogue.gamma = gamma.data<float>();
      epilogue.beta = beta.data<float>();
      epilogue.mean = mean.data<float>();
      epilogue.rstd = rstd.data<float>();
      epilogue.dgamma = dgamma.mutable_data<float>();
      epilogue.dbeta = dbeta.mutable_data<float>();
      epilogue.rows = rows;
      constexpr int kUnroll = kRowsInFlight<T, N, 2>;
      const Tiles first = sum_tiles<N>(ctx, rows, columns, int64_t(x.bytes() + dy.bytes()), kUnroll);
      float* unused = nullptr;
      Sums sums = cut_workspace<BackwardEpilogue<kAct>>(ctx, first, &unused);
      launch(ctx, {"norm_act_backward_sums", first.blocks(), kSumThreads}, norm_act_backward_sums_kernel<T, N, kAct>,
             first, epilogue, in, bits, from, sums.partials);
      const bool own = N == kVector && own_sums(ctx, first, BackwardEpilogue<kAct>::kTerms);
      if (!own) finish(ctx, epilogue, sums, columns);
      if constexpr (N == kVector) {
        const Tiles tiles = apply_tiles(ctx, rows, columns, kUnroll, own);
        launch(ctx, {"norm_act_backward", tiles.blocks(), kApplyThreads}, norm_act_backward_kernel<T, kAct>, tiles,
               epilogue, sums, in, bits, from, out, residual);
      } else {
        launch(ctx, {"norm_act_backward_any", blocks_of_any(x.numel()), kApplyThreads},
               norm_act_backward_any_kernel<T, kAct>, x.numel(), columns, sums, in, bits, from, out, residual);
      }
    };
    dispatch_fused(bits ? Activation::relu : p.activation, [&]<Activation kAct>() {
      if constexpr (kAct != Activation::relu6) {
        if (vectors)
          run.template operator()<kVector, kAct>();
        else
          run.template operator()<1, kAct>();
      }
    });
  });
}

// --- fold_norm -------------------------------------------------------------------------------------------------------

namespace {

// Dense weights have the output channel first, depthwise ones last.
template <class X, class Y>
__global__ void __launch_bounds__(kApplyThreads)
    fold_norm_kernel(const X* w, int64_t numel, int64_t channels, int64_t per_channel, float eps, const float* gamma,
                     const float* beta, const float* mean, const float* var, Y* w_out, float* bias) {
  const int64_t i = int64_t(blockIdx.x) * kApplyThreads + threadIdx.x;
  if (i < numel) {
    const int64_t c = i / per_channel % channels;
    w_out[i] = from_float<Y>(to_float(w[i]) * (gamma[c] / sqrtf(var[c] + eps)));
  }
  if (i < channels) bias[i] = beta[i] - mean[i] * (gamma[i] / sqrtf(var[i] + eps));
}

}  // namespace

void fold_norm(Context& ctx, float eps, bool depthwise, const Tensor& w, const Tensor& gamma, const Tensor& beta,
               const Tensor& mean, const Tensor& var, Tensor& w_out, Tensor& bias) {
  const int64_t channels = gamma.numel();
  if (channels == 0) return;
  float* bias_out = bias.mutable_data<float>();
  dispatch("fold_norm", w.dtype(), w_out.dtype(), [&]<class X, class Y>() {
    const int64_t per_channel = depthwise ? 1 : std::max<int64_t>(1, w.numel() / channels);
    launch(ctx, {"fold_norm", blocks_for(std::max(w.numel(), channels), kApplyThreads), kApplyThreads},
           fold_norm_kernel<X, Y>, w.data<X>(), w.numel(), channels, per_channel, eps, gamma.data<float>(),
           beta.data<float>(), mean.data<float>(), var.data<float>(), w_out.mutable_data<Y>(), bias_out);
  });
}

}  // namespace coss::cuda
