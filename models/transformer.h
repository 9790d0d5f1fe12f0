// What vision transformers share: the patch embedding and the pre-norm block, with the names of timm or of OpenAI.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "layers/attention.h"
#include "layers/layer_norm.h"
#include "layers/mode.h"

namespace coss {

// A convolution whose stride is its window, as one linear layer over the squares that it sees.
class PatchEmbedding {
 public:
  // Registers scope/name.weight, in files a convolution's, and, if there is one, scope/name.bias.
  PatchEmbedding(const Scope& scope, const std::string& name, int64_t size, int64_t width, bool with_bias);
  PatchEmbedding(const PatchEmbedding&) = delete;
  PatchEmbedding& operator=(const PatchEmbedding&) = delete;

  Var operator()(const Var& images) const;  // (N,H,W,3) -> (N, H / size * W / size, width)

  int64_t macs(int64_t tokens) const { return tokens * size_ * size_ * 3 * width_; }

 private:
  int64_t size_, width_;
  Var weight_, bias_;
};

struct BlockNames {
  const char *norm1, *attention, *norm2, *mlp, *first, *second;
};

struct BlockOptions {
  AttentionOptions attention;  // with the width
  BlockNames names{};
  Activation activation = Activation::gelu;
  float eps = 1e-6f;
  Init weight{Init::normal, 0, 0.02f}, bias = Init::zeros();  // of the two linear layers, four times as wide inside
  float drop_path = 0;
  uint32_t layer = 0;  // tells the random draws apart: two for each block
};

// x + attention(norm(x)), then x + mlp(norm(x)).
class TransformerBlock {
 public:
  TransformerBlock(const Scope& scope, const BlockOptions& options);
  TransformerBlock(const TransformerBlock&) = delete;
  TransformerBlock& operator=(const TransformerBlock&) = delete;

  Var operator()(const Var& x, Mode mode, const Tensor& step) const;  // (N,T,width), the same shape comes out

  // Linear layers, and the two products of attention.
  int64_t macs(int64_t tokens) const;

 private:
  Var dropped(const Var& branch, uint32_t which, Mode mode, const Tensor& step) const;

  BlockOptions options_;
  const Params* params_;
  LayerNorm norm1_;
  Attention attention_;
  LayerNorm norm2_;
  Linear first_, second_;
};

using TransformerBlocks = std::vector<std::unique_ptr<TransformerBlock>>;

// All blocks; `stages`, when wanted, receives the tokens after each quarter of them.
Var run_blocks(const TransformerBlocks& blocks, Var x, Mode mode, const Tensor& step, std::vector<Var>* stages);

// Tokens of a square image; Error when they are not as many as the position embedding was made for.
void check_image(const Shape& images, int64_t image_size);

}  // namespace coss
