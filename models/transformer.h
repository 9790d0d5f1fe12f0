// The parts that vision transformers share: the patch embedding and the pre-norm block, with timm's or OpenAI's names.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "layers/attention.h"
#include "layers/layer_norm.h"
#include "layers/mode.h"

namespace coss {

// A convolution whose stride is its window, computed as a linear layer on the squares of the image.
class PatchEmbedding {
 public:
  // Registers scope/name.weight, which files store as a convolution's, and, if with_bias, scope/name.bias. `size`:
  // pixels on a side of a square.
  PatchEmbedding(const Scope& scope, const std::string& name, int64_t size, int64_t width, bool with_bias);
  PatchEmbedding(const PatchEmbedding&) = delete;
  PatchEmbedding& operator=(const PatchEmbedding&) = delete;

  Var operator()(const Var& images) const;  // (N,H,W,3) -> (N, H / size * W / size, width)

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
  Init weight{Init::normal, 0, 0.02f}, bias = Init::zeros();  // of the two linear layers; 4 * width between them
  float drop_path = 0;                                        // rate of stochastic depth
  uint32_t layer = 0;  // the block's number, which keeps its two random draws apart from other blocks'
};

// x + attention(norm(x)), then x + mlp(norm(x)).
class TransformerBlock {
 public:
  TransformerBlock(const Scope& scope, const BlockOptions& options);
  TransformerBlock(const TransformerBlock&) = delete;
  TransformerBlock& operator=(const TransformerBlock&) = delete;

  Var operator()(const Var& x, Mode mode, const Tensor& step) const;  // (N,T,width) -> the same

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

// Runs all blocks. `stages`, if it is not null, receives the tokens after each quarter of them.
Var run_blocks(const TransformerBlocks& blocks, Var x, Mode mode, const Tensor& step, std::vector<Var>* stages);

// Throws Error unless images are (N,image_size,image_size,3): there are positions for that many tokens only.
void check_image(const Shape& images, int64_t image_size);

}  // namespace coss
