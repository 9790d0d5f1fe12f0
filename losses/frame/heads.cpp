// Heads by their published shapes.
#include "losses/frame/heads.h"

namespace coss {

Tensor frozen_features(Network& teacher, const Tensor& images, std::vector<Var>* stages) {
  const NoGrad guard;
  return teacher.features(Var(images), Mode::eval, {}, stages).value;
}

FrozenTeacher::FrozenTeacher(const TeacherHeadOptions& options, const MethodParts& parts)
    : width(options.wanted ? options.dim : parts.teacher->feature_width), teacher_(*parts.teacher) {
  if (options.wanted) head_ = parts.teacher_head;
}

FrozenTeacher::Seen FrozenTeacher::operator()(const Tensor& images) const {
  const NoGrad guard;
  const Tensor features = frozen_features(teacher_, images);
  const Tensor embedding = head_ ? head_(Var(features)).value : features;
  COSS_CHECK(embedding.shape()[1] == width, "the teacher's head gives " + std::to_string(embedding.shape()[1]) +
                                                " columns: set method.dim to that number");
  return {features, embedding};
}

std::unique_ptr<ProjectionHead> mlp_head(const Scope& scope, int64_t layers, int64_t in, int64_t hidden, int64_t out) {
  if (layers == 0) {
    COSS_CHECK(in == out, "without a head the student's " + std::to_string(in) + " features must be as many as the " +
                              std::to_string(out) + " of the teacher: set method.head_layers=2");
    return nullptr;
  }
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

std::unique_ptr<ProjectionHead> coss_head(const HeadOptions& options, const MethodParts& parts) {
  const int64_t in = parts.student.feature_width, out = parts.teacher->feature_width;
  if (in == out && options.layers <= 2) return nullptr;
  return mlp_head(parts.scope / "head", options.layers, in, options.hidden, out);
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
