// Norm: batch norm + activation in front of a convolution, where it cannot be folded into the one before: what a
// pre-activation network adds up must stay as it is.
#pragma once
#include <array>
#include <string>

#include "layers/mode.h"
#include "layers/params.h"

namespace coss {

class Norm {
 public:
  // Registers scope/name.{weight,bias,running_mean,running_var}; the first two only where it is affine.
  Norm(const Scope& scope, const std::string& name, int64_t channels, const NormParams& options, bool affine = true);
  Norm(const Norm&) = delete;
  Norm& operator=(const Norm&) = delete;

  Var operator()(const Var& x, Mode mode);  // (N,H,W,channels), the same shape comes out

 private:
  void make_constants();
  void refold();

  NormParams options_;
  int64_t channels_;
  Var gamma_, beta_;
  Tensor running_mean_, running_var_;
  // Of eval mode, where the norm is a depthwise 1x1 convolution: made on first use, renewed when a source changed.
  Tensor ones_, scale_, shift_;
  std::array<uint64_t, 2> folded_from_{};  // versions of the ranges the sources live in
};

}  // namespace coss
