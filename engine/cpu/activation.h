// The activations and their slopes on vectors.
#pragma once
#include "engine/cpu/simd.h"
#include "engine/dispatch.h"

namespace coss::cpu {

inline Vec magnitude(Vec v) { return (Vec)((VecI)v & 0x7fffffff); }

// e^-|v| neither overflows nor cancels, so both tails keep their digits.
inline Vec sigmoid(Vec v) {
  const Vec e = exp(-magnitude(v));
  return select(less(v, Vec{}), e, broadcast(1)) / (e + 1.0f);
}

inline Vec relu6(Vec v) { return at_most(broadcast(6), at_least(Vec{}, v)); }

// The normal distribution: its probability below v, and its density times sqrt(2 pi). The tail is e^(-v^2/2) times
// a function of t = 1 / (1 + 0.32 |v|) that a polynomial fits to 1.3e-7 of its value, for every v.
struct Normal {
  Vec below, bell;
};
inline Normal normal_at(Vec v) {
  const Vec bell = exp(v * v * -0.5f), t = 1.0f / (magnitude(v) * 0.32f + 1.0f);
  Vec p = broadcast(-0.021151774f);
  p = p * t + 0.095755346f;
  p = p * t - 0.14739925f;
  p = p * t + 0.06607795f;
  p = p * t - 0.009859006f;
  p = p * t + 0.058839854f;
  p = p * t + 0.08778724f;
  p = p * t + 0.1146274f;
  p = p * t + 0.12766068f;
  p = p * t + 0.12766153f;
  const Vec tail = bell * t * p;
  return {select(less(v, Vec{}), tail, 1.0f - tail), bell};
}

constexpr float kQuickGelu = 1.702f;

template <Activation kAct>
inline Vec activated(Vec z) {
  if constexpr (kAct == Activation::none)
    return z;
  else if constexpr (kAct == Activation::relu)
    return at_least(Vec{}, z);  // keeps NaN
  else if constexpr (kAct == Activation::relu6)
    return relu6(z);
  else if constexpr (kAct == Activation::silu)
    return z * sigmoid(z);
  else if constexpr (kAct == Activation::hardswish)
    return z * relu6(z + 3.0f) * (1 / 6.0f);
  else if constexpr (kAct == Activation::sigmoid)
    return sigmoid(z);
  else if constexpr (kAct == Activation::hardsigmoid)
    return relu6(z + 3.0f) * (1 / 6.0f);
  else if constexpr (kAct == Activation::gelu)
    return z * normal_at(z).below;
  else
    return z * sigmoid(z * kQuickGelu);
}

// The lanes where an activation that clips passes the gradient; z is its input or output, and NaN passes it,
// as in PyTorch. Not for Activation::none.
template <Activation kAct>
inline LaneBits passes_gradient(Vec z) {
  static_assert(kAct == Activation::relu || kAct == Activation::relu6);
  LaneBits stopped = not_above(z, Vec{});
  if constexpr (kAct == Activation::relu6) stopped |= not_above(broadcast(6), z);
  return LaneBits(~stopped);
}

// The derivative of an activation that does not clip at its input z. At the kinks, -3 and 3, it is the slope of the
// line outside.
template <Activation kAct>
inline Vec slope(Vec z) {
  static_assert(!clips(kAct));
  if constexpr (kAct == Activation::silu || kAct == Activation::quick_gelu) {
    if constexpr (kAct == Activation::quick_gelu) z *= kQuickGelu;
    const Vec s = sigmoid(z);
    return s * (1.0f + z * (1.0f - s));
  } else if constexpr (kAct == Activation::sigmoid) {
    const Vec s = sigmoid(z);
    return s * (1.0f - s);
  } else if constexpr (kAct == Activation::gelu) {
    const Normal normal = normal_at(z);
    return normal.below + z * normal.bell * 0.3989422804f;
  } else {
    const LaneBits inside = less(broadcast(-3), z) & less(z, broadcast(3));
    if constexpr (kAct == Activation::hardsigmoid) return keep(inside, broadcast(1 / 6.0f));
    return select(inside, z * (1 / 3.0f) + 0.5f, select(less(z, Vec{}), Vec{}, broadcast(1)));
  }
}

}  // namespace coss::cpu
