// Conv: a convolution without a norm, for networks that normalize before they convolve (wide ResNets) or not at all
// (SqueezeNet); and what every
// convolution of a network has in common: its size, the name and start of its weight, its cost.
#pragma once
#include <string>

#include "layers/mode.h"
#include "layers/params.h"

namespace coss {

// The fan by which Kaiming's initialization scales a convolution.
enum class Fan : uint8_t { in, out };

// Height and width of an image on its way through a network.
struct Extent {
  int64_t height = 0, width = 0;
};

struct ConvOptions {
  int64_t in = 0, out = 0, window = 3;
  ConvParams conv;  // depthwise: in == out
  Fan fan = Fan::out;
  bool bias = false;
  Activation activation = Activation::none;
};

// Registers scope/name.weight.
void add_conv_weight(const Scope& scope, const std::string& name, const ConvOptions& options, Var* weight,
                     Tensor* master = nullptr);

// Multiply-accumulates for one image; `extent` goes in as the input's and comes out as the output's.
int64_t conv_macs(const ConvOptions& options, Extent& extent);

class Conv {
 public:
  Conv(const Scope& scope, const std::string& name, const ConvOptions& options);
  Conv(const Conv&) = delete;
  Conv& operator=(const Conv&) = delete;

  // (N,H,W,in) -> (N,P,Q,out). residual, when given, is shaped like the output and added before the activation.
  Var operator()(const Var& x, Mode mode, const Var& residual = {});

  int64_t macs(Extent& extent) const { return conv_macs(options_, extent); }

 private:
  ConvOptions options_;
  Var weight_, bias_;
  Tensor no_bias_;  // of eval mode: zeros, made on first use
};

}  // namespace coss
