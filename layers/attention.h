// Attention: one linear layer for queries, keys and values, multi-head attention, and a projection.
#pragma once
#include <string>

#include "layers/linear.h"

namespace coss {

struct AttentionOptions {
  int64_t width = 0, heads = 1;
  // Names of the parameters. The defaults are timm's; OpenAI's CLIP has in_proj_weight, in_proj_bias and out_proj.
  std::string qkv_weight = "qkv.weight", qkv_bias = "qkv.bias", projection = "proj";
  Init weight{Init::normal, 0, 0.02f}, bias = Init::zeros();
};

class Attention {
 public:
  // Registers scope/qkv_weight (3 width, width), scope/qkv_bias and scope/projection.{weight,bias}.
  Attention(const Scope& scope, const AttentionOptions& options);
  Attention(const Attention&) = delete;
  Attention& operator=(const Attention&) = delete;

  // (N,T,width) -> (N,Q,width). Only the first `queries` tokens ask, Q of them; all T if queries is 0.
  Var operator()(const Var& x, int64_t queries = 0) const;

 private:
  int64_t heads_;
  Var weight_, bias_;
  Linear projection_;
};

}  // namespace coss
