// ConvNorm: convolution + batch norm (+ residual) + activation, the one layer that convolutional networks
// are built from. Training runs the convolution and one fused norm-add-activation; eval runs a single convolution with
// the norm folded into its weights and bias, and residual and activation as its epilogue.
#pragma once
#include <array>
#include <string>

#include "layers/conv.h"

namespace coss {

struct ConvNormOptions {
  int64_t in = 0, out = 0, window = 3;
  ConvParams conv;  // depthwise: in == out
  NormParams norm;  // with the activation
  Fan fan = Fan::out;
  bool bias = false;  // of the convolution: some networks have one, though the norm takes it away again
  ConvOptions convolution() const { return {.in = in, .out = out, .window = window, .conv = conv, .fan = fan}; }
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
  // Registers scope/conv_name/weight (and bias) and scope/norm_name/{weight,bias,running_mean,running_var}.
  ConvNorm(const Scope& scope, const std::string& conv_name, const std::string& norm_name,
           const ConvNormOptions& options);
  ConvNorm(const ConvNorm&) = delete;
  ConvNorm& operator=(const ConvNorm&) = delete;

  // (N,H,W,in) -> (N,P,Q,out). residual, when given, is shaped like the output.
  Var operator()(const Var& x, Mode mode, const Var& residual = {});

  int64_t macs(Extent& extent) const { return conv_macs(options_.convolution(), extent); }

 private:
  void refold();

  ConvNormOptions options_;
  Var weight_, bias_, gamma_, beta_;
  Tensor master_, running_mean_, running_var_;
  // Of eval mode: made on first use, renewed when one of the sources changed.
  Tensor folded_weight_, folded_bias_, shifted_mean_;
  std::array<uint64_t, 3> folded_from_{};  // versions of the ranges the sources live in
};

}  // namespace coss
