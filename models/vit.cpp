// Vit: patch embedding, class token, positions, blocks, norm, linear classifier.
#include "models/vit.h"

#include "models/classifier.h"
#include "models/transformer.h"

namespace coss {
namespace {

constexpr float kEps = 1e-6f;
constexpr Init kSmall{Init::normal, 0, 0.02f};

LinearOptions head(int64_t width, int64_t classes) {
  LinearOptions options(width, classes);
  options.weight = kSmall;
  options.bias = Init::zeros();
  return options;
}

// Registers class token and positions before the patch embedding, as they are first in timm's files.
const Scope& with_tokens(const Scope& scope, const VitOptions& options, int64_t tokens, Var* token, Var* positions) {
  const Init start = options.sine_positions ? Init{Init::positions} : kSmall;
  scope.params().add_rest(scope.name("cls_token"), {options.width}, {Init::normal, 0, 1e-6f}, token,
                          FileLayout::leading);
  scope.params().add_rest(scope.name("pos_embed"), {tokens, options.width}, start, positions, FileLayout::leading);
  return scope;
}

class Vit : public Network {
 public:
  Vit(const Scope& scope, const VitOptions& options)
      : options_(options),
        patches_((options.image_size / options.patch) * (options.image_size / options.patch)),
        embedding_(with_tokens(scope, options, patches_ + 1, &token_, &positions_) / "patch_embed", "proj",
                   options.patch, options.width, /*with_bias=*/true) {
    for (int64_t i = 0; i < options.depth; ++i) {
      BlockOptions block;
      block.attention.width = options.width;
      block.attention.heads = options.heads;
      block.names = {"norm1", "attn", "norm2", "mlp", "fc1", "fc2"};
      block.eps = kEps;
      block.drop_path = options.drop_path * float(i) / float(std::max<int64_t>(options.depth - 1, 1));
      block.layer = uint32_t(i);
      blocks_.push_back(std::make_unique<TransformerBlock>(scope / "blocks" / std::to_string(i), block));
    }
    norm_ = std::make_unique<LayerNorm>(scope, options.mean_pooling ? "fc_norm" : "norm", options.width, kEps);
    feature_width = options.width;
    classes = options.classes;
    classifier_ = std::make_unique<Classifier>(scope, "head", head(options.width, classes));
  }

  // The last norm treats each token by itself, so it runs on the one token only that becomes the features.
  Var features(const Var& images, Mode mode, const Tensor& step, std::vector<Var>* stages) override {
    if (mode == Mode::eval && Tape::active()) {
      const NoGrad frozen;
      return features(images, mode, step, stages);
    }
    check_image(images.shape(), options_.image_size);
    const Var tokens = join_tokens(token_, embedding_(images), positions_);
    const Var x = run_blocks(blocks_, tokens, mode, step, stages);
    return (*norm_)(options_.mean_pooling ? mean_tokens(1, patches_, x) : mean_tokens(0, 1, x));
  }

  Var logits(const Var& features, Mode, const Tensor&) override { return (*classifier_)(features); }

 private:
  VitOptions options_;
  int64_t patches_;
  Var token_, positions_;
  PatchEmbedding embedding_;
  TransformerBlocks blocks_;
  std::unique_ptr<LayerNorm> norm_;
  std::unique_ptr<Classifier> classifier_;
};

}  // namespace

std::unique_ptr<Network> make_vit(const Scope& scope, const VitOptions& options) {
  COSS_CHECK(options.image_size % options.patch == 0, "[vit] an image of " + std::to_string(options.image_size) +
                                                          " pixels cannot be cut into patches of " +
                                                          std::to_string(options.patch));
  return std::make_unique<Vit>(scope, options);
}

}  // namespace coss
