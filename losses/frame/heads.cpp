// Heads by their published shapes.
#include "losses/frame/heads.h"

namespace coss {

Tensor frozen_features(Network& teacher, const Tensor& images, std::vector<Var>* stages) {
  const NoGrad guard;
  return teacher.features(Var(images), Mode::eval, {}, stages).value;
}

Tensor frozen_embedding(const MethodParts& parts, const Tensor& images) {
  const NoGrad guard;
  return parts.teacher_head(Var(frozen_features(*parts.teacher, images))).value;
}

std::unique_ptr<ProjectionHead> mlp_head(const Scope& scope, int64_t layers, int64_t in, int64_t hidden, int64_t out) {
  COSS_CHECK(layers >= 0, "a head cannot have fewer than 0 layers");
  if (layers == 0) {
    COSS_CHECK(in == out, "without a head the student's " + std::to_string(in) + " features must be as many as the " +
                              std::to_string(out) + " of the teacher: set method.head_layers=2");
    return nullptr;
  }
  COSS_CHECK(layers == 1 || hidden > 0, "the hidden width of the student's head must be positive");
  ProjectionOptions options;
  for (int64_t i = 0; i < layers; ++i) {
    const bool last = i == layers - 1;
    options.layers.push_back({.linear = std::to_string(2 * i),
                              .in = i == 0 ? in : hidden,
                              .out = last ? out : hidden,
                              .activation = last ? Activation::none : Activation::relu});
  }
  return std::make_unique<ProjectionHead>(scope, options);
}

std::unique_ptr<ProjectionHead> coss_head(const MethodOptions& options, const MethodParts& parts) {
  const int64_t layers = options.whole("head_layers"), in = parts.student.feature_width,
                out = parts.teacher->feature_width;
  if (in == out && layers <= 2) return nullptr;
  return mlp_head(parts.scope / "head", layers, in, options.whole("head_hidden"), out);
}

std::unique_ptr<ProjectionHead> simreg_head(const Scope& scope, int64_t in, int64_t out) {
  ProjectionOptions options;
  options.layers = {
      {.linear = "0", .in = in, .out = 2 * in, .norm = "1", .activation = Activation::relu},
      {.linear = "3", .in = 2 * in, .out = in},
      {.linear = "4", .in = in, .out = 2 * in, .norm = "5", .activation = Activation::relu},
      {.linear = "7", .in = 2 * in, .out = out},
  };
  return std::make_unique<ProjectionHead>(scope, options);
}

}  // namespace coss
