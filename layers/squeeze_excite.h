// SqueezeExcite: multiplies each channel by a gate, which a small network computes from the means of all channels over
// the image (Hu et al. 2018, arXiv 1709.01507).
#pragma once
#include "layers/linear.h"
#include "layers/mode.h"

namespace coss {

struct SqueezeExciteOptions {
  int64_t channels = 0, width = 0;  // width of the hidden layer
  Activation hidden = Activation::relu, gate = Activation::sigmoid;
};

class SqueezeExcite {
 public:
  // Registers scope/fc1 and scope/fc2, which files store as 1x1 convolutions.
  SqueezeExcite(const Scope& scope, const SqueezeExciteOptions& options);

  Var operator()(const Var& x, Mode mode) const;  // (N,H,W,channels) -> the same shape

 private:
  Var scaled(const Var& x) const;

  SqueezeExciteOptions options_;
  Linear reduce_, expand_;
};

}  // namespace coss
