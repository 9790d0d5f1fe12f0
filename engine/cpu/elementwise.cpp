// Kernels that treat every element alike.
#include "engine/cpu/activation.h"
#include "engine/cpu/parallel.h"
#include "engine/cpu/simd.h"
#include "engine/dispatch.h"
#include "engine/kernels.h"
#include "engine/philox.h"

namespace coss::cpu {

namespace {

// Calls body(i, n) for every vector of [0, count) on all threads; `bytes` are moved per element.
template <class Body>
void for_each_vector(int64_t count, int64_t bytes, Body&& body) {
  parallel_ranges(count, 64, bytes, [&](int64_t begin, int64_t end) { for_vectors(begin, end, body); });
}

template <class T>
constexpr bool kComputes = sizeof(T) == 2 || std::is_same_v<T, float>;

template <class Y, class X>
Y converted(X value) {
  if constexpr (sizeof(X) == 2)
    return converted<Y>(float(value));
  else if constexpr (sizeof(Y) == 2)
    return Y(float(value));
  else
    return static_cast<Y>(value);
}

void dropout(const DropoutParams& p, const Tensor& step, const Tensor& x, Tensor& y) {
  const int64_t now = step.data<int64_t>()[0];
  const float factor = 1 / (1 - p.rate);
  dispatch("dropout", x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    T* out = y.mutable_data<T>();
    if (p.group > 1) {
      parallel_ranges(x.numel(), kLanes, 2 * int64_t(sizeof(T)), [&](int64_t begin, int64_t end) {
        while (begin < end) {
          const int64_t group = begin / p.group, stop = std::min(end, (group + 1) * p.group);
          const uint32_t word = dropout_words(p.seed, p.layer, now, group / 4).word[group % 4];
          if (philox_uniform(word) < p.rate)
            std::fill(out + begin, out + stop, T(0.0f));
          else
            for_vectors(begin, stop, [&](int64_t i, auto n) { put(out + i, get(in + i, n) * factor, n); });
          begin = stop;
        }
      });
      return;
    }
    parallel_ranges(x.numel(), 4, 32, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i += 4) {
        const PhiloxWords words = dropout_words(p.seed, p.layer, now, i / 4);
        for (int64_t j = i; j < std::min(i + 4, end); ++j)
          out[j] = philox_uniform(words.word[j - i]) < p.rate ? T(0.0f) : T(float(in[j]) * factor);
      }
    });
  });
}

}  // namespace

void fill(Context&, double value, Tensor& y) {
  dispatch_any("fill", y.dtype(), [&]<class T>() {
    T* out = y.mutable_data<T>();
    const T element = converted<T>(value);
    parallel_ranges(y.numel(), 64, sizeof(T),
                    [&](int64_t begin, int64_t end) { std::fill(out + begin, out + end, element); });
  });
}

void cast(Context&, const Tensor& x, Tensor& y) {
  COSS_ASSERT(x.numel() == y.numel());
  dispatch_any("cast", x.dtype(), [&]<class X>() {
    dispatch_any("cast", y.dtype(), [&]<class Y>() {
      const X* in = x.data<X>();
      Y* out = y.mutable_data<Y>();
      if constexpr (kComputes<X> && kComputes<Y>) {
        for_each_vector(x.numel(), sizeof(X) + sizeof(Y), [=](int64_t i, auto n) { put(out + i, get(in + i, n), n); });
      } else {
        parallel_ranges(x.numel(), 64, sizeof(X) + sizeof(Y), [=](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) out[i] = converted<Y>(in[i]);
        });
      }
    });
  });
}

void add(Context&, const Tensor& a, const Tensor& b, Tensor& y) {
  dispatch("add", y.dtype(), [&]<class T>() {
    const T *left = a.data<T>(), *right = b.data<T>();
    T* out = y.mutable_data<T>();
    for_each_vector(y.numel(), 3 * sizeof(T),
                    [=](int64_t i, auto n) { put(out + i, get(left + i, n) + get(right + i, n), n); });
  });
}

void axpy(Context&, float a, const Tensor& x, Tensor& y) {
  dispatch("axpy", x.dtype(), y.dtype(), [&]<class X, class Y>() {
    const X* in = x.data<X>();
    Y* out = y.mutable_data<Y>();
    for_each_vector(y.numel(), sizeof(X) + 2 * sizeof(Y),
                    [=](int64_t i, auto n) { put(out + i, get(out + i, n) + get(in + i, n) * a, n); });
  });
}

void scale(Context&, const Tensor& s, Tensor& y) {
  const float factor = s.data<float>()[0];
  dispatch("scale", y.dtype(), [&]<class T>() {
    T* out = y.mutable_data<T>();
    for_each_vector(y.numel(), 2 * sizeof(T), [=](int64_t i, auto n) { put(out + i, get(out + i, n) * factor, n); });
  });
}

void activation_forward(Context&, Activation kind, const Tensor& x, Tensor& y) {
  dispatch("activation", x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    T* out = y.mutable_data<T>();
    dispatch(kind, [&]<Activation kAct>() {
      for_each_vector(x.numel(), 2 * sizeof(T),
                      [=](int64_t i, auto n) { put(out + i, activated<kAct>(get(in + i, n)), n); });
    });
  });
}

void activation_backward(Context&, Activation kind, const Tensor& x, const Tensor& dy, Tensor& dx) {
  dispatch("activation", x.dtype(), [&]<class T>() {
    const T *from = x.data<T>(), *in = dy.data<T>();
    T* out = dx.mutable_data<T>();
    dispatch(kind, [&]<Activation kAct>() {
      for_each_vector(x.numel(), 3 * sizeof(T), [=](int64_t i, auto n) {
        Vec v = get(in + i, n);
        if constexpr (!clips(kAct))
          v *= slope<kAct>(get(from + i, n));
        else if constexpr (kAct != Activation::none)
          v = keep(passes_gradient<kAct>(get(from + i, n)), v);
        put(out + i, v, n);
      });
    });
  });
}

void dropout_forward(Context&, const DropoutParams& p, const Tensor& step, const Tensor& x, Tensor& y) {
  dropout(p, step, x, y);
}

void dropout_backward(Context&, const DropoutParams& p, const Tensor& step, const Tensor& dy, Tensor& dx) {
  dropout(p, step, dy, dx);
}

}  // namespace coss::cpu
