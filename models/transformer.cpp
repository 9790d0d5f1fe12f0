// Patch embedding and pre-norm block: parameters and forward.
#include "models/transformer.h"

namespace coss {
namespace {

LinearOptions linear_options(const BlockOptions& options, int64_t in, int64_t out) {
  LinearOptions linear(in, out);
  linear.weight = options.weight;
  linear.bias = options.bias;
  return linear;
}

// Shows a parameter and its gradient in another shape, without a copy. For parameters only: their gradients have memory
// from the start.
Var parameter_view(const Var& from, const Shape& shape) {
  Var view(from.value.reshape(shape));
  if (from.grad) view.grad = std::make_shared<Grad>(Grad{from.grad->value.reshape(shape), from.grad->is_param});
  return view;
}

}  // namespace

PatchEmbedding::PatchEmbedding(const Scope& scope, const std::string& name, int64_t size, int64_t width, bool with_bias)
    : size_(size), width_(width) {
  const Init init = Init::kaiming_uniform(size * size * 3);
  scope.params().add_weight(scope.name(name + ".weight"), {width, size, size, 3}, FileLayout::conv, init, &weight_);
  if (with_bias) scope.params().add_rest(scope.name(name + ".bias"), {width}, init, &bias_);
}

Var PatchEmbedding::operator()(const Var& images) const {
  return linear(patches(size_, images), parameter_view(weight_, {width_, size_ * size_ * 3}), bias_);
}

TransformerBlock::TransformerBlock(const Scope& scope, const BlockOptions& options)
    : options_(options),
      params_(&scope.params()),
      norm1_(scope, options.names.norm1, options.attention.width, options.eps),
      attention_(scope / options.names.attention, options.attention),
      norm2_(scope, options.names.norm2, options.attention.width, options.eps),
      first_(scope / options.names.mlp, options.names.first,
             linear_options(options, options.attention.width, 4 * options.attention.width)),
      second_(scope / options.names.mlp, options.names.second,
              linear_options(options, 4 * options.attention.width, options.attention.width)) {}

Var TransformerBlock::operator()(const Var& x, Mode mode, const Tensor& step) const {
  const Var y = add(x, dropped(attention_(norm1_(x)), 0, mode, step));
  return add(y, dropped(second_(first_(norm2_(y), options_.activation)), 1, mode, step));
}

Var TransformerBlock::dropped(const Var& branch, uint32_t which, Mode mode, const Tensor& step) const {
  if (mode == Mode::eval || options_.drop_path == 0) return branch;
  return drop_path({.rate = options_.drop_path, .seed = params_->seed(), .layer = 2 * options_.layer + which}, step,
                   branch);
}

Var run_blocks(const TransformerBlocks& blocks, Var x, Mode mode, const Tensor& step, std::vector<Var>* stages) {
  const size_t quarter = std::max<size_t>(blocks.size() / 4, 1);
  for (size_t i = 0; i < blocks.size(); ++i) {
    x = (*blocks[i])(x, mode, step);
    if (stages && (i + 1) % quarter == 0) stages->push_back(x);
  }
  return x;
}

void check_image(const Shape& images, int64_t image_size) {
  COSS_CHECK(images.rank == 4 && images[1] == image_size && images[2] == image_size && images[3] == 3,
             "images are " + images.str() + ", but this network has positions for " + std::to_string(image_size) +
                 " by " + std::to_string(image_size) + " pixels only; resize or crop them to that size");
}

}  // namespace coss
