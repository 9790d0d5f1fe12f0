// ConvNorm: convolution + batch norm (+ residual) + activation, the one layer that convolutional networks are built
// from. Train mode runs the convolution, then norm, sum and activation in one kernel. Eval mode runs a single
// convolution: the norm is folded into its weights and bias, residual and activation are its epilogue.
#pragma once
#include <array>
#include <string>

#include "layers/conv.h"

namespace coss {

struct ConvNormOptions {
  int64_t in = 0, out = 0, window = 3;
  ConvParams conv;  // a depthwise one has in == out
  NormParams norm;  // with the activation
  Fan fan = Fan::out;
  bool bias = false;  // the convolution has a bias, which some networks keep though the norm subtracts it again
  ConvOptions convolution() const { return {.in = in, .out = out, .window = window, .conv = conv, .fan = fan}; }
};

// Options of a convolution whose zero padding keeps the size of the image if the stride is 1.
inline ConvNormOptions same_conv(int64_t in, int64_t out, int64_t window, int64_t stride, Activation activation) {
  return {.in = in,
          .out = out,
          .window = window,
          .conv = {.stride = stride, .pad = window / 2},
          .norm = {.activation = activation}};
}

class ConvNorm {
 public:
  // Registers scope/conv_name.weight (and .bias) and scope/norm_name.{weight,bias,running_mean,running_var}.
  ConvNorm(const Scope& scope, const std::string& conv_name, const std::string& norm_name,
           const ConvNormOptions& options);
  ConvNorm(const ConvNorm&) = delete;
  ConvNorm& operator=(const ConvNorm&) = delete;

  // (N,H,W,in) -> (N,P,Q,out). residual, if it is given, is shaped like the output and added before the activation.
  Var operator()(const Var& x, Mode mode, const Var& residual = {});

 private:
  void refold();

  ConvNormOptions options_;
  Var weight_, bias_, gamma_, beta_;
  Tensor master_, running_mean_, running_var_;
  // For eval mode: made on first use, and renewed when a tensor that they are computed from has changed.
  Tensor folded_weight_, folded_bias_, shifted_mean_;
  std::array<uint64_t, 3> folded_from_{};  // the versions of those tensors
};

}  // namespace coss
