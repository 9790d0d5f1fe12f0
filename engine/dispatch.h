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

// body.operator()<kAct>()
template <class Body>
void dispatch(Activation kind, Body&& body) {
  switch (kind) {
    case Activation::none:
      return body.template operator()<Activation::none>();
    case Activation::relu:
      return body.template operator()<Activation::relu>();
    case Activation::relu6:
      return body.template operator()<Activation::relu6>();
  }
}

}  // namespace coss
