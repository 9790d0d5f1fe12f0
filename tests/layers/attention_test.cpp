// Attention and LayerNorm as layers: names, order and shapes of what they register, and what they compute.
#include "layers/attention.h"

#include <gtest/gtest.h>

#include "layers/layer_norm.h"
#include "tests/support/support.h"

namespace coss::test {

namespace {

std::string listing(const Params& params) {
  std::string text;
  for (const Params::Entry& entry : params.entries()) text += entry.name + " " + entry.shape.str() + "\n";
  return text;
}

}  // namespace

TEST(AttentionLayer, NamesOfTwoLibraries) {
  Params timm;
  const Attention first(Scope(timm, "blocks.0.attn"), {.width = 6, .heads = 2});
  EXPECT_EQ(listing(timm),
            "blocks.0.attn.qkv.weight (18, 6)\nblocks.0.attn.qkv.bias (18)\n"
            "blocks.0.attn.proj.weight (6, 6)\nblocks.0.attn.proj.bias (6)\n");
  Params clip;
  AttentionOptions options;
  options.width = 6;
  options.qkv_weight = "in_proj_weight";
  options.qkv_bias = "in_proj_bias";
  options.projection = "out_proj";
  const Attention second(Scope(clip, "attn"), options);
  EXPECT_EQ(
      listing(clip),
      "attn.in_proj_weight (18, 6)\nattn.in_proj_bias (18)\nattn.out_proj.weight (6, 6)\nattn.out_proj.bias (6)\n");
}

TEST(AttentionLayer, TheFirstQueriesOfAllAreTheFirstQueriesAlone) {
  Params params;
  const LayerNorm norm(Scope(params), "norm", 12, 1e-6f);
  AttentionOptions options;
  options.width = 12;
  options.heads = 3;
  options.weight = {Init::normal, 0, 0.5f};
  const Attention attention(Scope(params, "attn"), options);
  params.allocate(Device::cpu, DType::f32, 1);
  const Var x(random_tensor({2, 7, 12}, DType::f32, Device::cpu, 1));
  const Var all = attention(norm(x)), one = attention(norm(x), 1);
  EXPECT_EQ(all.shape(), (Shape{2, 7, 12}));
  EXPECT_EQ(one.shape(), (Shape{2, 1, 12}));
  for (int64_t image : {0, 1})
    EXPECT_LT(normalized_error(one.value.view(image * 12, {12}), all.value.view(image * 84, {12})), 1e-12);
}

}  // namespace coss::test
