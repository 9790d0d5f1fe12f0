// Kernels that treat every element alike. All are bound by memory: at least the bytes of inputs and outputs are moved
// once each. flat.h has the shape of the launches.
#include <cmath>
#include <cstring>

#include "engine/cuda/flat.h"
#include "engine/dispatch.h"
#include "engine/kernels.h"
#include "engine/philox.h"

namespace coss::cuda {

namespace {

constexpr int kThreads = 256;

// --- any type --------------------------------------------------------------------------------------------------------

// The 16-bit types convert from and to float only.
template <class Y, class X>
__device__ inline Y converted(X value) {
  if constexpr (sizeof(X) == 2)
    return converted<Y>(to_float(value));
  else if constexpr (sizeof(Y) == 2)
    return from_float<Y>(float(value));
  else
    return static_cast<Y>(value);
}

template <class X, class Y>
__global__ void __launch_bounds__(kThreads) convert_kernel(int64_t count, const X* x, Y* y) {
  const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (i < count) y[i] = converted<Y>(x[i]);
}

// Word: the unsigned integer of the element's size; `word` has the element's bits.
template <class Word>
__global__ void __launch_bounds__(kThreads) fill_kernel(int64_t count, Word value, bool aligned, Word* y) {
  constexpr int kItems = 16 / int(sizeof(Word));
  const int64_t begin = (int64_t(blockIdx.x) * kThreads + threadIdx.x) * kItems;
  if (aligned && begin + kItems <= count) {
    Pack<Word, kItems> pack;
    COSS_UNROLL
    for (int i = 0; i < kItems; ++i) pack.item[i] = value;
    *reinterpret_cast<Pack<Word, kItems>*>(y + begin) = pack;
  } else {
    for (int64_t i = begin; i < begin + kItems && i < count; ++i) y[i] = value;
  }
}

template <class Word, class T>
void fill_with(Context& ctx, T element, Tensor& y) {
  static_assert(sizeof(Word) == sizeof(T));
  Word word;
  std::memcpy(&word, &element, sizeof(word));
  Word* out = static_cast<Word*>(y.mutable_raw());
  constexpr int kItems = 16 / int(sizeof(Word));
  launch(ctx, {"fill", blocks_for(y.numel(), int64_t(kThreads) * kItems), kThreads}, fill_kernel<Word>, y.numel(), word,
         flat_aligned<kItems>(out), out);
}

// --- compute types ---------------------------------------------------------------------------------------------------

template <class X, class Y>
struct Cast {
  static constexpr int kItems = kFlatItems<X, Y>;
  const X* x;
  Y* y;
  struct Items {
    float x[kItems];
  };
  bool aligned() const { return flat_aligned<kItems>(x, y); }
  template <bool kWhole>
  __device__ void read(int64_t i, int n, Items& items) const {
    get<kWhole>(x + i, n, items.x);
  }
  template <bool kWhole>
  __device__ void write(int64_t i, int n, const Items& items) const {
    put<kWhole>(y + i, n, items.x);
  }
};

// y = F::of(a, b)
template <class F, class T>
struct Binary {
  static constexpr int kItems = kFlatItems<T>;
  const T *a, *b;
  T* y;
  struct Items {
    float a[kItems], b[kItems];
  };
  bool aligned() const { return flat_aligned<kItems>(a, b, y); }
  template <bool kWhole>
  __device__ void read(int64_t i, int n, Items& items) const {
    get<kWhole>(a + i, n, items.a);
    get<kWhole>(b + i, n, items.b);
  }
  template <bool kWhole>
  __device__ void write(int64_t i, int n, const Items& items) const {
    float value[kItems];
    COSS_UNROLL
    for (int j = 0; j < kItems; ++j) value[j] = F::of(items.a[j], items.b[j]);
    put<kWhole>(y + i, n, value);
  }
};
struct Plus {
  static __device__ float of(float a, float b) { return a + b; }
};
template <Activation kAct>
struct ActivationGradient {
  static __device__ float of(float x, float dy) { return passed_gradient<kAct>(x, dy); }
};

template <class X, class Y>
struct Axpy {
  static constexpr int kItems = kFlatItems<X, Y>;
  float a;
  const X* x;
  Y* y;
  struct Items {
    float x[kItems], y[kItems];
  };
  bool aligned() const { return flat_aligned<kItems>(x, y); }
  template <bool kWhole>
  __device__ void read(int64_t i, int n, Items& items) const {
    get<kWhole>(x + i, n, items.x);
    get<kWhole>(y + i, n, items.y);
  }
  template <bool kWhole>
  __device__ void write(int64_t i, int n, const Items& items) const {
    float sum[kItems];
    COSS_UNROLL
    for (int j = 0; j < kItems; ++j) sum[j] = items.y[j] + items.x[j] * a;
    put<kWhole>(y + i, n, sum);
  }
};

template <class T>
struct Scale {
  static constexpr int kItems = kFlatItems<T>;
  const float* s;
  T* y;
  struct Items {
    float y[kItems], s;
  };
  bool aligned() const { return flat_aligned<kItems>(y); }
  template <bool kWhole>
  __device__ void read(int64_t i, int n, Items& items) const {
    get<kWhole>(y + i, n, items.y);
    items.s = s[0];
  }
  template <bool kWhole>
  __device__ void write(int64_t i, int n, const Items& items) const {
    float product[kItems];
    COSS_UNROLL
    for (int j = 0; j < kItems; ++j) product[j] = items.y[j] * items.s;
    put<kWhole>(y + i, n, product);
  }
};

template <Activation kAct, class T>
struct ActivationForward {
  static constexpr int kItems = kFlatItems<T>;
  const T* x;
  T* y;
  struct Items {
    float x[kItems];
  };
  bool aligned() const { return flat_aligned<kItems>(x, y); }
  template <bool kWhole>
  __device__ void read(int64_t i, int n, Items& items) const {
    get<kWhole>(x + i, n, items.x);
  }
  template <bool kWhole>
  __device__ void write(int64_t i, int n, const Items& items) const {
    float value[kItems];
    COSS_UNROLL
    for (int j = 0; j < kItems; ++j) value[j] = activated<kAct>(items.x[j]);
    put<kWhole>(y + i, n, value);
  }
};

// Vectors begin at multiples of 4, as the groups of four that share a draw do. The draws cost about as much as the
// memory of 16-bit types, and half as much as that of f32.
template <class T>
struct Dropout {
  static constexpr int kItems = kFlatItems<T>;
  float rate, factor;
  uint64_t seed;
  uint32_t layer;
  const int64_t* step;
  const T* x;
  T* y;
  struct Items {
    float x[kItems];
    int64_t step;
  };
  bool aligned() const { return flat_aligned<kItems>(x, y); }
  template <bool kWhole>
  __device__ void read(int64_t i, int n, Items& items) const {
    get<kWhole>(x + i, n, items.x);
    items.step = step[0];
  }
  template <bool kWhole>
  __device__ void write(int64_t i, int n, const Items& items) const {
    float value[kItems];
    COSS_UNROLL
    for (int j = 0; j < kItems; j += 4) {
      const PhiloxWords words = dropout_words(seed, layer, items.step, (i + j) / 4);
      COSS_UNROLL
      for (int k = 0; k < 4; ++k) value[j + k] = philox_uniform(words.word[k]) < rate ? 0.0f : items.x[j + k] * factor;
    }
    put<kWhole>(y + i, n, value);
  }
};

// The same where `group` consecutive elements share a draw: one division and, except at a boundary, one draw per
// vector.
template <class T>
struct GroupDropout {
  static constexpr int kItems = kFlatItems<T>;
  float rate, factor;
  uint64_t seed;
  uint32_t layer;
  int64_t group;
  const int64_t* step;
  const T* x;
  T* y;
  struct Items {
    float x[kItems];
    int64_t step;
  };
  bool aligned() const { return flat_aligned<kItems>(x, y); }
  __device__ int64_t draw_of(int64_t i) const {
    return ((i | group) >> 32) == 0 ? int64_t(uint32_t(i) / uint32_t(group)) : i / group;
  }
  __device__ float kept(int64_t draw, int64_t at_step) const {
    const PhiloxWords words = dropout_words(seed, layer, at_step, draw / 4);
    const int64_t place = draw % 4;  // an array that is indexed by a variable would not stay in registers
    const uint32_t low = place % 2 ? words.word[1] : words.word[0], high = place % 2 ? words.word[3] : words.word[2];
    return philox_uniform(place / 2 ? high : low) < rate ? 0.0f : factor;
  }
  template <bool kWhole>
  __device__ void read(int64_t i, int n, Items& items) const {
    get<kWhole>(x + i, n, items.x);
    items.step = step[0];
  }
  template <bool kWhole>
  __device__ void write(int64_t i, int n, const Items& items) const {
    float value[kItems];
    if (group >= kItems) {
      const int64_t draw = draw_of(i), left = (draw + 1) * group - i;  // elements until the next draw
      const float first = kept(draw, items.step), second = left < kItems ? kept(draw + 1, items.step) : first;
      COSS_UNROLL
      for (int j = 0; j < kItems; ++j) {
        const float factor_here = j < left ? first : second;
        value[j] = factor_here == 0 ? 0.0f : items.x[j] * factor_here;
      }
    } else {
      COSS_UNROLL
      for (int j = 0; j < kItems; ++j) {
        const float factor_here = kept(draw_of(i + j), items.step);
        value[j] = factor_here == 0 ? 0.0f : items.x[j] * factor_here;
      }
    }
    put<kWhole>(y + i, n, value);
  }
};

void dropout(Context& ctx, const DropoutParams& p, const Tensor& step, const Tensor& x, Tensor& y) {
  COSS_ASSERT(p.group >= 1);
  if (x.numel() == 0) return;
  dispatch("dropout", x.dtype(), [&]<class T>() {
    const float factor = 1 / (1 - p.rate);
    const int64_t* at_step = step.data<int64_t>();
    const T* in = x.data<T>();
    T* out = y.mutable_data<T>();
    if (p.group == 1)
      run_flat(ctx, "dropout", x.numel(), Dropout<T>{p.rate, factor, p.seed, p.layer, at_step, in, out});
    else
      run_flat(ctx, "dropout_groups", x.numel(),
               GroupDropout<T>{p.rate, factor, p.seed, p.layer, p.group, at_step, in, out});
  });
}

}  // namespace

void fill(Context& ctx, double value, Tensor& y) {
  if (y.numel() == 0) return;
  if (value == 0 && !std::signbit(value)) return zero_bytes(ctx, y.mutable_raw(), y.bytes());
  dispatch_any("fill", y.dtype(), [&]<class T>() {
    if constexpr (sizeof(T) == 8)
      fill_with<uint64_t>(ctx, static_cast<T>(value), y);
    else if constexpr (sizeof(T) == 4)
      fill_with<uint32_t>(ctx, static_cast<T>(value), y);
    else if constexpr (sizeof(T) == 2)
      fill_with<uint16_t>(ctx, T(float(value)), y);
    else
      fill_with<uint8_t>(ctx, static_cast<T>(value), y);
  });
}

void cast(Context& ctx, const Tensor& x, Tensor& y) {
  COSS_ASSERT(x.numel() == y.numel());
  if (x.numel() == 0) return;
  auto plain = [&]<class X, class Y>() {
    launch(ctx, {"convert", blocks_for(x.numel(), kThreads), kThreads}, convert_kernel<X, Y>, x.numel(), x.data<X>(),
           y.mutable_data<Y>());
  };
  dispatch_any("cast", x.dtype(), [&]<class X>() {
    if (y.dtype() == DType::f64) return plain.template operator()<X, double>();
    dispatch("cast", y.dtype(), [&]<class Y>() {
      if constexpr (sizeof(X) == 2 || std::is_same_v<X, float>)
        run_flat(ctx, "cast", x.numel(), Cast<X, Y>{x.data<X>(), y.mutable_data<Y>()});
      else
        plain.template operator()<X, Y>();
    });
  });
}

void add(Context& ctx, const Tensor& a, const Tensor& b, Tensor& y) {
  if (y.numel() == 0) return;
  dispatch("add", y.dtype(), [&]<class T>() {
    run_flat(ctx, "add", y.numel(), Binary<Plus, T>{a.data<T>(), b.data<T>(), y.mutable_data<T>()});
  });
}

void axpy(Context& ctx, float a, const Tensor& x, Tensor& y) {
  if (y.numel() == 0) return;
  dispatch("axpy", x.dtype(), y.dtype(), [&]<class X, class Y>() {
    run_flat(ctx, "axpy", y.numel(), Axpy<X, Y>{a, x.data<X>(), y.mutable_data<Y>()});
  });
}

void scale(Context& ctx, const Tensor& s, Tensor& y) {
  if (y.numel() == 0) return;
  dispatch("scale", y.dtype(), [&]<class T>() {
    run_flat(ctx, "scale", y.numel(), Scale<T>{s.data<float>(), y.mutable_data<T>()});
  });
}

void activation_forward(Context& ctx, Activation kind, const Tensor& x, Tensor& y) {
  if (x.numel() == 0) return;
  dispatch("activation", x.dtype(), [&]<class T>() {
    dispatch(kind, [&]<Activation kAct>() {
      run_flat(ctx, "activation_forward", x.numel(), ActivationForward<kAct, T>{x.data<T>(), y.mutable_data<T>()});
    });
  });
}

void activation_backward(Context& ctx, Activation kind, const Tensor& x, const Tensor& dy, Tensor& dx) {
  if (x.numel() == 0) return;
  dispatch("activation", x.dtype(), [&]<class T>() {
    dispatch(kind, [&]<Activation kAct>() {
      run_flat(ctx, "activation_backward", x.numel(),
               Binary<ActivationGradient<kAct>, T>{x.data<T>(), dy.data<T>(), dx.mutable_data<T>()});
    });
  });
}

void dropout_forward(Context& ctx, const DropoutParams& p, const Tensor& step, const Tensor& x, Tensor& y) {
  dropout(ctx, p, step, x, y);
}

void dropout_backward(Context& ctx, const DropoutParams& p, const Tensor& step, const Tensor& dy, Tensor& dx) {
  dropout(ctx, p, step, dy, dx);
}

}  // namespace coss::cuda
