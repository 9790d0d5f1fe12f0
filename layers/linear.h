// Linear: y = x w^T + bias.
#pragma once
#include "autograd/ops.h"
#include "layers/params.h"

namespace coss {

struct LinearOptions {
  int64_t in = 0, out = 0;
  Init weight, bias;  // the default of both is PyTorch's: uniform within +-1/sqrt(in)
  bool with_bias = true;
  FileLayout layout = FileLayout::plain;  // pointwise if files store it as a 1x1 convolution
  LinearOptions(int64_t in_width, int64_t out_width)
      : in(in_width), out(out_width), weight(Init::kaiming_uniform(in_width)), bias(Init::kaiming_uniform(in_width)) {}
};

class Linear {
 public:
  // Registers scope/name.weight (out,in) and, if with_bias, scope/name.bias (out).
  Linear(const Scope& scope, const std::string& name, const LinearOptions& options);
  Linear(const Linear&) = delete;
  Linear& operator=(const Linear&) = delete;

  // (…,in) -> (…,out)
  Var operator()(const Var& x, Activation act = Activation::none) const { return linear(x, weight_, bias_, act); }

 private:
  Var weight_, bias_;
};

}  // namespace coss
