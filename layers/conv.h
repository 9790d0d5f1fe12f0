// Conv: a convolution without a norm, for networks that normalize before they convolve (wide ResNets) or not at all
// (SqueezeNet); and what every convolution of a network has in common: its size, and the name and the initial values of
// its weight.
#pragma once
#include <string>

#include "layers/mode.h"
#include "layers/params.h"

namespace coss {

// The fan by which Kaiming's initialization scales a convolution.
enum class Fan : uint8_t { in, out };

struct ConvOptions {
  int64_t in = 0, out = 0, window = 3;
  ConvParams conv;  // a depthwise one has in == out
  Fan fan = Fan::out;
  bool bias = false;
  Activation activation = Activation::none;
};

// Registers scope/name.weight, (out,window,window,in / groups) or, depthwise, (window,window,out). allocate() fills
// `weight` and, if it is not null, `master` with the master values.
void add_conv_weight(const Scope& scope, const std::string& name, const ConvOptions& options, Var* weight,
                     Tensor* master = nullptr);

class Conv {
 public:
  // Registers scope/name.weight and, if options.bias, scope/name.bias.
  Conv(const Scope& scope, const std::string& name, const ConvOptions& options);
  Conv(const Conv&) = delete;
  Conv& operator=(const Conv&) = delete;

  // (N,H,W,in) -> (N,P,Q,out). residual, if it is given, is shaped like the output and added before the activation.
  Var operator()(const Var& x, Mode mode, const Var& residual = {});

 private:
  ConvOptions options_;
  Var weight_, bias_;
  Tensor no_bias_;  // zeros for eval mode, made on first use
};

}  // namespace coss
