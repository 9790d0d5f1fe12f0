// From a dtype or an activation known at run time to a template argument.
#pragma once
#include <string>

#include "engine/check.h"
#include "engine/kernel_params.h"

namespace coss {

// body.operator()<T>() with T = float, bf16 or f16: the compute dtypes.
template <class Body>
void dispatch(const char* kernel, DType dtype, Body&& body) {
  switch (dtype) {
    case DType::f32:
      return body.template operator()<float>();
    case DType::bf16:
      return body.template operator()<bf16>();
    case DType::f16:
      return body.template operator()<f16>();
    default:
      throw Error(std::string("[") + kernel + "] computes in f32, bf16 or f16, not " + name_of(dtype));
  }
}

// body.operator()<T>() for every element type.
template <class Body>
void dispatch_any(const char* kernel, DType dtype, Body&& body) {
  switch (dtype) {
    case DType::f64:
      return body.template operator()<double>();
    case DType::i32:
      return body.template operator()<int32_t>();
    case DType::i64:
      return body.template operator()<int64_t>();
    case DType::u8:
      return body.template operator()<uint8_t>();
    default:
      return dispatch(kernel, dtype, body);
  }
}

// The compute dtypes of a pair: body.operator()<X, Y>().
template <class Body>
void dispatch(const char* kernel, DType x, DType y, Body&& body) {
  dispatch(kernel, x, [&]<class X>() { dispatch(kernel, y, [&]<class Y>() { body.template operator()<X, Y>(); }); });
}

// body.operator()<kAct>() for the activations that clip.
template <class Body>
void dispatch_clipping(Activation kind, Body&& body) {
  switch (kind) {
    case Activation::none:
      return body.template operator()<Activation::none>();
    case Activation::relu:
      return body.template operator()<Activation::relu>();
    case Activation::relu6:
      return body.template operator()<Activation::relu6>();
    default:
      throw Error("this kernel takes no activation but relu and relu6");
  }
}

// body.operator()<kAct>() for the activations that can be fused to a convolution or its norm: those and silu and
// hardswish.
template <class Body>
void dispatch_fused(Activation kind, Body&& body) {
  switch (kind) {
    case Activation::silu:
      return body.template operator()<Activation::silu>();
    case Activation::hardswish:
      return body.template operator()<Activation::hardswish>();
    default:
      return dispatch_clipping(kind, body);
  }
}

// body.operator()<kAct>() for every activation.
template <class Body>
void dispatch(Activation kind, Body&& body) {
  switch (kind) {
    case Activation::sigmoid:
      return body.template operator()<Activation::sigmoid>();
    case Activation::hardsigmoid:
      return body.template operator()<Activation::hardsigmoid>();
    case Activation::gelu:
      return body.template operator()<Activation::gelu>();
    case Activation::quick_gelu:
      return body.template operator()<Activation::quick_gelu>();
    default:
      return dispatch_fused(kind, body);
  }
}

}  // namespace coss
