// Norm: batch norm + activation as a layer of its own, for pre-activation networks. There the norm follows a sum that
// later blocks need without the norm, so it cannot be folded into the convolution before it.
#pragma once
#include <array>
#include <string>

#include "layers/mode.h"
#include "layers/params.h"

namespace coss {

class Norm {
 public:
  // Registers scope/name.{weight,bias,running_mean,running_var}; the first two only if it is affine.
  Norm(const Scope& scope, const std::string& name, int64_t channels, const NormParams& options, bool affine = true);
  Norm(const Norm&) = delete;
  Norm& operator=(const Norm&) = delete;

  Var operator()(const Var& x, Mode mode);  // (N,H,W,channels) -> the same shape

 private:
  void make_constants();
  void refold();

  NormParams options_;
  int64_t channels_;
  Var gamma_, beta_;
  Tensor running_mean_, running_var_;
  // In eval mode the norm runs as a depthwise 1x1 convolution. Its tensors are made on first use, and renewed when a
  // tensor that they are computed from has changed.
  Tensor ones_, scale_, shift_;
  std::array<uint64_t, 2> folded_from_{};  // the versions of those tensors
};

}  // namespace coss
