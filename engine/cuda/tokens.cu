// Turns images into tokens and back, joins tokens with a first one and adds positions, and takes their mean. All
// kernels read and write each element once. The sums over images (dposition, dfirst) go in two stages, in a fixed
// order: a block has a range of images, then partial sums are added in double.
#include <algorithm>
#include <limits>

#include "engine/cuda/device.h"
#include "engine/cuda/walk.h"
#include "engine/dispatch.h"
#include "engine/kernels.h"

namespace coss::cuda {
namespace {

constexpr int kTokenThreads = 256;

// Indices are 32-bit: divisions of wider numbers cost more than the memory accesses around them.
unsigned whole_number(const char* kernel, int64_t count) {
  COSS_CHECK(count < (int64_t(1) << 32), std::string("[") + kernel + "] a tensor has too many elements");
  return unsigned(count);
}
__device__ inline int64_t own_index() { return int64_t(blockIdx.x) * kTokenThreads + threadIdx.x; }

// --- patches -------------------------------------------------------------------------------------------------------

struct PatchShape {
  unsigned units;     // units in the whole image tensor
  unsigned row, run;  // units in a row of pixels, and in a row of a patch
  unsigned height, size;
  unsigned down, across;  // patches below and beside each other
};

// A thread moves one unit of N * 2 bytes, which lies within one row of one patch. Pixels outside of all patches get a
// gradient of 0.
template <int N, bool kBackward>
__global__ void __launch_bounds__(kTokenThreads) patches_kernel(PatchShape p, const uint16_t* from, uint16_t* to) {
  using Unit = Raw<uint16_t, N>;
  const int64_t index = own_index();
  if (index >= int64_t(p.units)) return;
  const unsigned unit = unsigned(index), column = unit % p.row, image_row = unit / p.row;
  const unsigned h = image_row % p.height, n = image_row / p.height;
  const unsigned y = h / p.size, x = column / p.run;
  const bool inside = y < p.down && x < p.across;
  const int64_t token = (int64_t(n) * p.down + y) * p.across + x;
  const int64_t other = ((token * p.size + h % p.size) * p.run + column % p.run) * N;
  if constexpr (kBackward)
    *reinterpret_cast<Unit*>(to + index * N) = fetch<N>(from, other, inside);
  else if (inside)
    *reinterpret_cast<Unit*>(to + other) = *reinterpret_cast<const Unit*>(from + index * N);
}

template <bool kBackward>
void patches(const char* name, Context& ctx, int64_t size, const Shape& image, DType dtype, const void* from,
             void* to) {
  const int64_t halves = int64_t(size_of(dtype)) / 2;  // 16-bit words of an element
  const int64_t row = image[2] * image[3] * halves, run = size * image[3] * halves;
  auto move = [&]<int N>() {
    PatchShape shape;
    shape.units = whole_number(name, image.numel() * halves / N);
    shape.row = unsigned(row / N);
    shape.run = unsigned(run / N);
    shape.height = unsigned(image[1]);
    shape.size = unsigned(size);
    shape.down = unsigned(image[1] / size);
    shape.across = unsigned(image[2] / size);
    launch(ctx, {name, blocks_for(shape.units, kTokenThreads), kTokenThreads}, patches_kernel<N, kBackward>, shape,
           static_cast<const uint16_t*>(from), static_cast<uint16_t*>(to));
  };
  if (row % 8 == 0 && run % 8 == 0 && aligned(from) && aligned(to))
    move.template operator()<8>();
  else if (row % 2 == 0 && run % 2 == 0 && reinterpret_cast<uintptr_t>(from) % 4 == 0 &&
           reinterpret_cast<uintptr_t>(to) % 4 == 0)
    move.template operator()<2>();
  else
    move.template operator()<1>();
}

// --- tokens and positions ------------------------------------------------------------------------------------------

// Parameters are anywhere in a flat buffer, so their vectors may not be aligned and are then loaded by elements.
template <int N>
__device__ inline void load_parameter(const float* p, bool vectors, float (&out)[N]) {
  if (vectors)
    load<N>(p, out);
  else
    load_part<N>(p, N, out);
}

struct Joined {
  unsigned vectors, tokens;  // vectors of a token of y; tokens of an image of y
  unsigned lead;             // 1: y's first token is `first`
  int64_t count;             // vectors of y
};

// T is the type of x and y, F that of first. Rows of first are `first_stride` elements apart; 0: all images share one.
template <int N, class T, class F>
__global__ void __launch_bounds__(kTokenThreads)
    join_tokens_kernel(Joined j, const F* first, int64_t first_stride, bool first_vectors, const T* x,
                       const float* position, bool position_vectors, T* y) {
  const int64_t index = own_index();
  if (index >= j.count) return;
  const unsigned unit = unsigned(index), vector = unit % j.vectors, row = unit / j.vectors;
  const unsigned token = row % j.tokens, n = row / j.tokens;
  float value[N], place[N];
  load_parameter<N>(position + (int64_t(token) * j.vectors + vector) * N, position_vectors, place);
  if (token < j.lead) {
    const F* from = first + n * first_stride + int64_t(vector) * N;
    if (first_vectors)
      load<N>(from, value);
    else
      load_part<N>(from, N, value);
  } else {
    const int64_t from = int64_t(n) * (j.tokens - j.lead) + token - j.lead;
    load<N>(x + (from * j.vectors + vector) * N, value);
  }
  COSS_UNROLL
  for (int i = 0; i < N; ++i) value[i] += place[i];
  store<N>(y + index * N, value);
}

constexpr int kImagesInFlight = 4;
constexpr int64_t kLeastImages = 16;  // a thread adds at least as many images, so that partial sums are small beside dy

// A thread has one vector of one token for `per_slice` images. partials: (slices, tokens * D), or null. dfirst: (N,D),
// or null.
template <int N, class T>
__global__ void __launch_bounds__(kTokenThreads)
    join_tokens_backward_kernel(Joined j, int images, int per_slice, const T* dy, T* dfirst, T* dx, float* partials) {
  const unsigned units = j.vectors * j.tokens;
  const int64_t index = own_index();
  if (index >= int64_t(units)) return;
  const unsigned unit = unsigned(index), vector = unit % j.vectors, token = unit / j.vectors;
  const int begin = int(blockIdx.y) * per_slice, end = min(images, begin + per_slice);
  const int64_t step = int64_t(units) * N, width = int64_t(j.vectors) * N;
  const int64_t dx_step = step - int64_t(j.lead) * width;
  T* out = token < j.lead ? dfirst : dx;
  const int64_t out_step = token < j.lead ? width : dx_step;
  const int64_t out_at = (int64_t(token < j.lead ? 0 : token - j.lead) * j.vectors + vector) * N;
  float sums[N] = {};
  for (int n = begin; n < end; n += kImagesInFlight) {
    float value[kImagesInFlight][N];
    COSS_UNROLL
    for (int i = 0; i < kImagesInFlight; ++i) {
      COSS_UNROLL
      for (int k = 0; k < N; ++k) value[i][k] = 0;
      if (n + i < end) load<N>(dy + (n + i) * step + index * N, value[i]);
    }
    COSS_UNROLL
    for (int i = 0; i < kImagesInFlight; ++i) {
      COSS_UNROLL
      for (int k = 0; k < N; ++k) sums[k] += value[i][k];
      if (out && n + i < end) store<N>(out + (n + i) * out_step + out_at, value[i]);
    }
  }
  if (!partials) return;
  COSS_UNROLL
  for (int k = 0; k < N; ++k) partials[int64_t(blockIdx.y) * step + index * N + k] = sums[k];
}

// Adds the sums of the slices to dposition, and those of the first token to dfirst where all images share it.
__global__ void __launch_bounds__(kTokenThreads)
    join_tokens_finish_kernel(const float* partials, int slices, int64_t columns, int64_t width, float* dfirst,
                              float* dposition) {
  const int64_t column = own_index();
  if (column >= columns) return;
  double sum = 0;
  for (int slice = 0; slice < slices; ++slice) sum += double(partials[slice * columns + column]);
  if (dposition) dposition[column] = float(double(dposition[column]) + sum);
  if (dfirst && column < width) dfirst[column] = float(double(dfirst[column]) + sum);
}

template <int N>
Joined joined(const char* name, const Shape& y, int64_t lead) {
  Joined j;
  j.vectors = unsigned(y.back() / N);
  j.tokens = unsigned(y[1]);
  j.lead = unsigned(lead);
  j.count = whole_number(name, y.numel() / N);
  return j;
}

// --- mean ----------------------------------------------------------------------------------------------------------

constexpr int kTokensInFlight = 8;

template <int N, class T>
__global__ void __launch_bounds__(kTokenThreads) mean_tokens_kernel(int64_t count, unsigned vectors, unsigned tokens,
                                                                    unsigned begin, unsigned used, const T* x, T* y) {
  const int64_t index = own_index();
  if (index >= count) return;
  const unsigned vector = unsigned(index) % vectors, n = unsigned(index) / vectors;
  const T* from = x + ((int64_t(n) * tokens + begin) * vectors + vector) * N;
  const int64_t step = int64_t(vectors) * N;
  float sums[N] = {};
  for (unsigned t = 0; t < used; t += kTokensInFlight) {
    float value[kTokensInFlight][N];
    COSS_UNROLL
    for (int i = 0; i < kTokensInFlight; ++i) {
      COSS_UNROLL
      for (int k = 0; k < N; ++k) value[i][k] = 0;
      if (t + i < used) load<N>(from + (t + i) * step, value[i]);
    }
    COSS_UNROLL
    for (int i = 0; i < kTokensInFlight; ++i) {
      COSS_UNROLL
      for (int k = 0; k < N; ++k) sums[k] += value[i][k];
    }
  }
  COSS_UNROLL
  for (int k = 0; k < N; ++k) sums[k] /= float(used);
  store<N>(y + index * N, sums);
}

template <int N, class T>
__global__ void __launch_bounds__(kTokenThreads)
    mean_tokens_backward_kernel(int64_t count, unsigned vectors, unsigned tokens, unsigned begin, unsigned used,
                                const T* dy, T* dx) {
  const int64_t index = own_index();
  if (index >= count) return;
  const unsigned vector = unsigned(index) % vectors, row = unsigned(index) / vectors;
  const unsigned token = row % tokens, n = row / tokens;
  float value[N] = {};
  if (token - begin < used) {  // unsigned: not below begin
    load<N>(dy + (int64_t(n) * vectors + vector) * N, value);
    COSS_UNROLL
    for (int k = 0; k < N; ++k) value[k] /= float(used);
  }
  store<N>(dx + index * N, value);
}

}  // namespace

void patches_forward(Context& ctx, int64_t size, const Tensor& x, Tensor& y) {
  if (y.numel() > 0) patches<false>("patches_forward", ctx, size, x.shape(), x.dtype(), x.raw(), y.mutable_raw());
}

void patches_backward(Context& ctx, int64_t size, const Tensor& dy, Tensor& dx) {
  if (dx.numel() > 0) patches<true>("patches_backward", ctx, size, dx.shape(), dx.dtype(), dy.raw(), dx.mutable_raw());
}

void join_tokens_forward(Context& ctx, const Tensor& first, const Tensor& x, const Tensor& position, Tensor& y) {
  if (y.numel() == 0) return;
  const int64_t width = y.shape().back(), lead = first.empty() ? 0 : 1;
  const float* places = position.data<float>();
  dispatch("join_tokens_forward", x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    T* out = y.mutable_data<T>();
    auto run = [&]<int N, class F>(const F* lead_token, int64_t stride) {
      const Joined j = joined<N>("join_tokens_forward", y.shape(), lead);
      launch(ctx, {"join_tokens_forward", blocks_for(j.count, kTokenThreads), kTokenThreads},
             join_tokens_kernel<N, T, F>, j, lead_token, stride, aligned(lead_token), in, places, aligned(places), out);
    };
    auto with_first = [&]<int N>() {
      if (!first.empty() && first.shape().rank == 2)
        run.template operator()<N, T>(first.data<T>(), width);
      else
        run.template operator()<N, float>(first.empty() ? nullptr : first.data<float>(), 0);
    };
    if (width % kVector == 0 && aligned(in) && aligned(out))
      with_first.template operator()<kVector>();
    else
      with_first.template operator()<1>();
  });
}

void join_tokens_backward(Context& ctx, const Tensor& dy, Tensor& dfirst, Tensor& dx, Tensor& dposition) {
  if (dy.numel() == 0) return;
  const Shape& shape = dy.shape();
  const int64_t images = shape[0], columns = shape[1] * shape[2], lead = shape[1] - dx.shape()[1];
  const bool each = !dfirst.empty() && dfirst.shape().rank == 2;
  float* first_sum = dfirst.empty() || each ? nullptr : dfirst.mutable_data<float>();
  float* position_sum = dposition.empty() ? nullptr : dposition.mutable_data<float>();
  COSS_ASSERT(images < std::numeric_limits<int>::max());
  dispatch("join_tokens_backward", dy.dtype(), [&]<class T>() {
    const T* in = dy.data<T>();
    T *out = dx.mutable_data<T>(), *first_out = each ? dfirst.mutable_data<T>() : nullptr;
    auto run = [&]<int N>() {
      const Joined j = joined<N>("join_tokens_backward", shape, lead);
      const unsigned blocks = blocks_for(columns / N, kTokenThreads);
      const int64_t wanted = blocks_for(8 * multiprocessors(ctx), blocks);
      const int64_t most = std::min<int64_t>(wanted, blocks_for(images, kLeastImages));
      const int64_t per_slice = (images + most - 1) / most, slices = (images + per_slice - 1) / per_slice;
      const bool sums = first_sum || position_sum;
      float* partials = sums ? static_cast<float*>(ctx.workspace(size_t(slices * columns) * sizeof(float))) : nullptr;
      launch(ctx, {"join_tokens_backward", dim3(blocks, unsigned(slices)), kTokenThreads},
             join_tokens_backward_kernel<N, T>, j, int(images), int(per_slice), in, first_out, out, partials);
      if (sums)
        launch(ctx, {"join_tokens_finish", blocks_for(columns, kTokenThreads), kTokenThreads},
               join_tokens_finish_kernel, partials, int(slices), columns, shape[2], first_sum, position_sum);
    };
    if (shape[2] % kVector == 0 && aligned(in) && aligned(out) && aligned(first_out))
      run.template operator()<kVector>();
    else
      run.template operator()<1>();
  });
}

void mean_tokens_forward(Context& ctx, int64_t first, int64_t count, const Tensor& x, Tensor& y) {
  if (y.numel() == 0) return;
  const int64_t width = y.shape().back();
  dispatch("mean_tokens_forward", x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    T* out = y.mutable_data<T>();
    auto run = [&]<int N>() {
      const int64_t vectors = whole_number("mean_tokens_forward", y.numel() / N);
      launch(ctx, {"mean_tokens_forward", blocks_for(vectors, kTokenThreads), kTokenThreads}, mean_tokens_kernel<N, T>,
             vectors, unsigned(width / N), unsigned(x.shape()[1]), unsigned(first), unsigned(count), in, out);
    };
    if (width % kVector == 0 && aligned(in) && aligned(out))
      run.template operator()<kVector>();
    else
      run.template operator()<1>();
  });
}

void mean_tokens_backward(Context& ctx, int64_t first, int64_t count, const Tensor& dy, Tensor& dx) {
  if (dx.numel() == 0) return;
  const int64_t width = dx.shape().back();
  dispatch("mean_tokens_backward", dy.dtype(), [&]<class T>() {
    const T* in = dy.data<T>();
    T* out = dx.mutable_data<T>();
    auto run = [&]<int N>() {
      const int64_t vectors = whole_number("mean_tokens_backward", dx.numel() / N);
      launch(ctx, {"mean_tokens_backward", blocks_for(vectors, kTokenThreads), kTokenThreads},
             mean_tokens_backward_kernel<N, T>, vectors, unsigned(width / N), unsigned(dx.shape()[1]), unsigned(first),
             unsigned(count), in, out);
    };
    if (width % kVector == 0 && aligned(in) && aligned(out))
      run.template operator()<kVector>();
    else
      run.template operator()<1>();
  });
}

}  // namespace coss::cuda
