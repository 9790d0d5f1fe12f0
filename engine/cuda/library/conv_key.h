// What a cuDNN convolution plan depends on, as plain numbers: the key of the plans in memory and of those remembered in
// a file. Also the routes: the ways in which a convolution can be computed, of which the fastest is chosen.
#pragma once
#include <array>
#include <cstddef>
#include <string>

#include "engine/kernel_params.h"
#include "engine/types.h"

namespace coss::cuda {

constexpr int64_t kPaddedChannels = 8, kFoldedChannels = 16;

enum class ConvKind : uint8_t { forward, bias_act, dgrad, wgrad };

struct ConvKey {
  ConvKind kind = ConvKind::forward;
  int64_t n = 0, h = 0, w = 0, c = 0;  // x or dx
  int64_t k = 0, r = 0, s = 0;         // output channels and window
  ConvParams params{};                 // never depthwise
  DType dtype = DType::f32;            // of x, w, y and their gradients; a weight gradient is f32
  bool tf32 = false;                   // f32 only: inputs may be rounded to TF32
  Activation activation = Activation::none;
  bool residual = false;

  bool operator==(const ConvKey&) const = default;
  int64_t p() const { return params.out_size(h, r); }
  int64_t q() const { return params.out_size(w, s); }
  // Padding above and on the left, below and on the right.
  int64_t above() const { return params.pad_before(h, r); }
  int64_t left() const { return params.pad_before(w, s); }
  int64_t below() const { return params.pad_behind(h, r); }
  int64_t right() const { return params.pad_behind(w, s); }
  // A matrix product of rows: y (N*H*W, K) = x (N*H*W, C) * w^T.
  bool pointwise() const {
    return r == 1 && s == 1 && params.stride == 1 && above() == 0 && left() == 0 && params.groups == 1;
  }
  bool wide() const { return dtype == DType::f32; }
  // Whether this is the first convolution of a network, at stride 2, which folding (stem_fold.h) turns into one of 16
  // channels at stride 1.
  bool foldable() const {
    return !wide() && c <= 4 && params.stride == 2 && params.dilation == 1 && params.groups == 1;
  }
  ConvKey folded() const {
    ConvKey key = *this;
    key.c = kFoldedChannels;
    key.r = (r + above() % 2 + 1) / 2;
    key.s = (s + left() % 2 + 1) / 2;
    key.h = p() + key.r - 1;
    key.w = q() + key.s - 1;
    key.params = {};
    return key;
  }

  std::array<int64_t, 17> numbers() const {
    return {int64_t(kind),
            n,
            h,
            w,
            c,
            k,
            r,
            s,
            params.stride,
            params.pad,
            params.dilation,
            params.groups,
            int64_t(dtype),
            tf32,
            int64_t(activation),
            residual,
            params.same};
  }
  // One line without tabs: "wgrad n64 h56 w56 c64 k64 r3 s3 stride1 pad1 dilation1 groups1 bf16".
  std::string text() const {
    static constexpr const char* kKinds[] = {"forward", "bias_act", "dgrad", "wgrad"};
    static constexpr const char* kActivations[] = {"", " relu", " relu6", " silu", " hardswish"};
    auto number = [](const char* name, int64_t value) { return std::string(" ") + name + std::to_string(value); };
    std::string line = kKinds[size_t(kind)];
    line += number("n", n) + number("h", h) + number("w", w) + number("c", c) + number("k", k) + number("r", r) +
            number("s", s) + number("stride", params.stride) + number("pad", params.pad) +
            number("dilation", params.dilation) + number("groups", params.groups) + " " + name_of(dtype);
    if (tf32) line += " tf32";
    line += kActivations[size_t(activation)];
    if (residual) line += " residual";
    if (params.same) line += " same";
    return line;
  }
};

struct ConvKeyHash {
  size_t operator()(const ConvKey& key) const {
    uint64_t hash = 0x9e3779b97f4a7c15u;
    for (int64_t number : key.numbers()) {
      hash = (hash ^ uint64_t(number)) * 0xff51afd7ed558ccdu;
      hash ^= hash >> 32;
    }
    return size_t(hash);
  }
};

enum class Route : uint8_t {
  plain,         // one cuDNN convolution
  fused,         // one cuDNN graph: conv, bias, residual and activation; or a weight gradient that is stored as f32
  rounded_bias,  // the same with the bias rounded to the 16-bit type, like the folded weights: cuDNN's precompiled
                 // engines take no other bias
  separate,      // a convolution, then bias, residual and activation in an own kernel
  product,       // a matrix product (weight gradient of a pointwise convolution)
  padded,        // weight gradient, fused, with the channels of x padded to kPaddedChannels
  widened,  // weight gradient of 16-bit inputs that are copied to f32. Their products are exact in TF32, since bf16 and
            // f16 have at most its 10 bits of mantissa
};
constexpr size_t kRoutes = 7;
constexpr const char* kRouteNames[kRoutes] = {"plain",   "fused",  "rounded_bias", "separate",
                                              "product", "padded", "widened"};
inline const char* name_of(Route route) { return kRouteNames[size_t(route)]; }

// A route, for the convolution itself or for the folded one.
struct ConvWay {
  Route route = Route::plain;
  bool folded = false;
  std::string text() const { return std::string(name_of(route)) + (folded ? " folded" : ""); }
};

}  // namespace coss::cuda
