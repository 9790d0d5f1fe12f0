// ConvNorm: convolution without bias + batch norm (+ residual) + activation, the one layer that convolutional networks
// are built from. Training runs the convolution and one fused norm-add-activation; eval runs a single convolution with
// the norm folded into its weights and bias, and residual and activation as its epilogue.
#pragma once
#include <array>
#include <string>

#include "layers/mode.h"
#include "layers/params.h"

namespace coss {

// The fan by which Kaiming's initialisation scales a convolution.
enum class Fan : uint8_t { in, out };

// Height and width of an image on its way through a network.
struct Extent {
  int64_t height = 0, width = 0;
};

struct ConvNormOptions {
  int64_t in = 0, out = 0, window = 3;
  ConvParams conv;  // depthwise: in == out
  NormParams norm;  // with the activation
  Fan fan = Fan::out;
};

// Zero padding that keeps the size where the stride is 1.
inline ConvNormOptions same_conv(int64_t in, int64_t out, int64_t window, int64_t stride, Activation activation) {
  return {.in = in,
          .out = out,
          .window = window,
          .conv = {.stride = stride, .pad = window / 2},
          .norm = {.activation = activation}};
}

class ConvNorm {
 public:
  // Registers scope/conv_name/weight and scope/norm_name/{weight,bias,running_mean,running_var}.
  ConvNorm(const Scope& scope, const std::string& conv_name, const std::string& norm_name,
           const ConvNormOptions& options);
  ConvNorm(const ConvNorm&) = delete;
  ConvNorm& operator=(const ConvNorm&) = delete;

  // (N,H,W,in) -> (N,P,Q,out). residual, when given, is shaped like the output.
  Var operator()(const Var& x, Mode mode, const Var& residual = {});

  // Multiply-accumulates for one image; `extent` goes in as the input's and comes out as the output's.
  int64_t macs(Extent& extent) const;

 private:
  void refold();

  ConvNormOptions options_;
  Var weight_, gamma_, beta_;
  Tensor master_, running_mean_, running_var_;
  // Of eval mode: made on first use, renewed when one of the sources changed.
  Tensor folded_weight_, folded_bias_;
  std::array<uint64_t, 3> folded_from_{};  // versions of the ranges the sources live in
};

}  // namespace coss
