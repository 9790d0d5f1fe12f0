// ClipVit: patch embedding, class token, positions, norm, blocks, norm of the class token, projection.
#include <cmath>

#include "models/classifier.h"
#include "models/clip.h"
#include "models/transformer.h"

namespace coss {
namespace {

constexpr float kEps = 1e-5f;

class ClipVit : public Network {
 public:
  ClipVit(const Scope& scope, const ClipVitOptions& options)
      : options_(options), patches_((options.image_size / options.patch) * (options.image_size / options.patch)) {
    Params& params = scope.params();
    const Init scaled{Init::normal, 0, float(1 / std::sqrt(double(options.width)))};
    params.add_rest(scope.name("class_embedding"), {options.width}, scaled, &token_);
    params.add_rest(scope.name("positional_embedding"), {patches_ + 1, options.width}, scaled, &positions_);
    params.add_weight(scope.name("proj"), {options.embedding, options.width}, FileLayout::transposed, scaled,
                      &projection_);
    embedding_ = std::make_unique<PatchEmbedding>(scope, "conv1", options.patch, options.width, /*with_bias=*/false);
    first_norm_ = std::make_unique<LayerNorm>(scope, "ln_pre", options.width, kEps);
    for (int64_t i = 0; i < options.depth; ++i) {
      BlockOptions block;
      block.weight = block.bias = block.attention.weight = Init::kaiming_uniform(options.width);
      block.attention.width = options.width;
      block.attention.heads = options.heads;
      block.attention.qkv_weight = "in_proj_weight";
      block.attention.qkv_bias = "in_proj_bias";
      block.attention.projection = "out_proj";
      block.names = {"ln_1", "attn", "ln_2", "mlp", "c_fc", "c_proj"};
      block.activation = Activation::quick_gelu;
      block.eps = kEps;
      blocks_.push_back(
          std::make_unique<TransformerBlock>(scope / "transformer" / "resblocks" / std::to_string(i), block));
    }
    last_norm_ = std::make_unique<LayerNorm>(scope, "ln_post", options.width, kEps);
    feature_width = options.embedding;
    classes = options.classes;
    classifier_ = std::make_unique<Classifier>(scope, "fc", LinearOptions(feature_width, classes));
  }

  Var features(const Var& images, Mode mode, const Tensor& step, std::vector<Var>* stages) override {
    if (mode == Mode::eval && Tape::active()) {
      const NoGrad frozen;
      return features(images, mode, step, stages);
    }
    check_image(images.shape(), options_.image_size);
    const Var tokens = (*first_norm_)(join_tokens(token_, (*embedding_)(images), positions_));
    const Var x = run_blocks(blocks_, tokens, mode, step, stages);
    return linear((*last_norm_)(mean_tokens(0, 1, x)), projection_, {});
  }

  Var logits(const Var& features, Mode, const Tensor&) override { return (*classifier_)(features); }

 private:
  ClipVitOptions options_;
  int64_t patches_;
  Var token_, positions_, projection_;
  std::unique_ptr<PatchEmbedding> embedding_;
  std::unique_ptr<LayerNorm> first_norm_, last_norm_;
  TransformerBlocks blocks_;
  std::unique_ptr<Classifier> classifier_;
};

}  // namespace

std::unique_ptr<Network> make_clip_vit(const Scope& scope, const ClipVitOptions& options) {
  COSS_CHECK(options.image_size % options.patch == 0, "[clip] an image of " + std::to_string(options.image_size) +
                                                          " pixels cannot be cut into patches of " +
                                                          std::to_string(options.patch));
  return std::make_unique<ClipVit>(scope, options);
}

}  // namespace coss
