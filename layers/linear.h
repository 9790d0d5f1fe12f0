// Linear: y = x w^T + bias.
#pragma once
#include "autograd/ops.h"
#include "layers/params.h"

namespace coss {

struct LinearOptions {
  int64_t in = 0, out = 0;
  Init weight;  // default: PyTorch's U(+-1/sqrt(in)) for both
  Init bias;
  LinearOptions(int64_t in_width, int64_t out_width)
      : in(in_width), out(out_width), weight(Init::kaiming_uniform(in_width)), bias(Init::kaiming_uniform(in_width)) {}
};

class Linear {
 public:
  // Registers scope/name/weight and scope/name/bias.
  Linear(const Scope& scope, const std::string& name, const LinearOptions& options);
  Linear(const Linear&) = delete;
  Linear& operator=(const Linear&) = delete;

  Var operator()(const Var& x) const { return linear(x, weight_, bias_); }  // (N,in) -> (N,out)

 private:
  Var weight_, bias_;
};

}  // namespace coss
