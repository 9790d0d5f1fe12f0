// IRG: edges and ways as operations, the options, the method on features, stages and logits or on embeddings.
#include "losses/irg.h"

#include "autograd/ops.h"
#include "losses/frame/drawn.h"
#include "losses/frame/fused.h"
#include "losses/frame/map_method.h"
#include "losses/frame/relations.h"
#include "losses/frame/views.h"

namespace coss {

LossTerms irg_loss(const Var& student, const Tensor& teacher) {
  check_same_rows("irg", student.value, teacher);
  const Var of_student = gram(centered_over_batch(student));
  const Tensor of_teacher = gram(centered_over_batch(Var(teacher))).value;
  return fused_loss(of_student, 1, [&](Tensor& loss, Tensor& dgram) {
    kernels(loss).irg_loss(context(loss.device()), of_student.value, of_teacher, loss, dgram);
  });
}

LossTerms irg_path_loss(const Var& student, const Tensor& teacher) {
  check_same_rows("irg", student.value, teacher);
  return fused_loss(student, 1, [&](Tensor& loss, Tensor& dstudent) {
    kernels(loss).irg_path_loss(context(loss.device()), student.value, teacher, loss, dstudent);
  });
}

namespace {

struct IrgOptions {
  LabeledOptions weights = {};
  float vertex_weight = 0.1f, edge_weight = 5, path_weight = 5;
  bool maps = true;
  EmbeddingOptions embedding = {};

  void list(OptionList& row) {
    weights.list(row, "weight of the graph's three terms together");
    row.number("vertex_weight", vertex_weight, "weight of the logits");
    row.number("edge_weight", edge_weight, "weight of the distances between images");
    row.number("path_weight", path_weight, "weight of the ways between two stages");
    row.flag("maps", maps, "maps are compared; switch it off for a teacher whose stages are no maps");
    embedding.list(row, "width of the embeddings that are compared on both sides; 0: features");
  }
};

// Means of `group` neighboring channels.
Var mean_of_groups(const Var& x, int64_t group) {
  if (group == 1) return x;
  const int64_t channels = x.shape()[3] / group;
  const Var apart = shuffle_channels(x, channels);  // the first ones of all groups, then the second ones …
  Var sum = slice_channels(apart, 0, channels);
  for (int64_t i = 1; i < group; ++i) sum = add(sum, slice_channels(apart, i * channels, channels));
  return scale(sum, 1.0f / float(group));
}

// The way from one map to the next: their difference, (N,D).
Var way(const Var& from, const Var& to) {
  const Shape &a = from.shape(), &b = to.shape();
  COSS_CHECK(sizes_fit(a, b) && a[1] >= b[1] && b[3] % a[3] == 0,
             "the method irg cannot compare maps " + a.str() + " with maps " + b.str() +
                 ": method.path_weight=0 leaves the transformation out");
  const Var pooled = a[1] == b[1] ? from : avg_pool({.window = a[1] / b[1], .stride = a[1] / b[1], .pad = 0}, from);
  return flat_rows(add(pooled, scale(mean_of_groups(to, b[3] / a[3]), -1)));
}

// student, teacher: logits (N,K) of one accumulator dtype.
Var vertices(const Var& student, const Tensor& teacher) { return mse_loss("irg", student, teacher).total; }

class IrgMethod : public MapMethod {
 public:
  IrgMethod(const IrgOptions& options, const MethodParts& parts)
      : MapMethod("graph", options.weights, parts), options_(options) {
    COSS_CHECK(options.vertex_weight > 0 || options.edge_weight > 0 || (options.maps && options.path_weight > 0),
               "the weights of IRG are all 0: nothing would be compared");
    COSS_CHECK(options.vertex_weight == 0 || (student_.classes > 0 && student_.classes == teacher_.classes),
               "IRG compares logits, the student has " + std::to_string(student_.classes) +
                   " classes and the teacher " + std::to_string(teacher_.classes) + ": set method.vertex_weight=0");
  }

 private:
  Var distance(const Seen& seen) override {
    COSS_CHECK(!options_.maps || (seen.student_stages.size() > 1 && seen.teacher_stages.size() > 1),
               "IRG compares maps of two stages, and one of the networks has none: set method.maps=0");
    Var of_logits, of_edges, of_ways;
    if (options_.vertex_weight > 0) {
      Tensor target;
      {
        const NoGrad guard;
        target = accumulated(teacher_.logits(seen.teacher, Mode::eval)).value;
      }
      of_logits = vertices(accumulated(student_.logits(seen.student, Mode::train, seen.inputs.step)), target);
    }
    if (options_.edge_weight > 0) of_edges = edges(seen);
    if (options_.maps && options_.path_weight > 0) {
      const auto of = [](const std::vector<Var>& stages) { return way(stages[stages.size() - 2], stages.back()); };
      of_ways = irg_path_loss(of(seen.student_stages), of(seen.teacher_stages).value).total;
    }
    return weighted_sum(
        {{options_.vertex_weight, of_logits}, {options_.edge_weight, of_edges}, {options_.path_weight, of_ways}});
  }

  Var edges(const Seen& seen) const {
    const auto of = [](const Var& student, const Var& teacher) {
      return irg_loss(flat_rows(student), flat_rows(teacher).value).total;
    };
    const Var features = of(seen.student, seen.teacher);
    if (!options_.maps) return features;
    const auto stage = [](const std::vector<Var>& stages, size_t back) { return stages[stages.size() - back]; };
    constexpr float kThird = 1.0f / 3;
    return weighted_sum({{kThird, features},
                         {kThird, of(stage(seen.student_stages, 2), stage(seen.teacher_stages, 2))},
                         {kThird, of(stage(seen.student_stages, 1), stage(seen.teacher_stages, 1))}});
  }

  IrgOptions options_;
};

std::unique_ptr<Method> make_irg(const MethodOptions& values, const MethodParts& parts) {
  const auto options = read<IrgOptions>(values);
  if (options.embedding.width == 0) return std::make_unique<IrgMethod>(options, parts);
  // Embeddings have no maps: edges and vertices alone.
  return std::make_unique<EmbeddedRelation>(
      "graph", options.weights, options.embedding, parts, [options](const EmbeddedPair::Output& seen) {
        const Tensor target = accumulated(Var(seen.teacher.logits)).value;
        return weighted_sum({{options.vertex_weight, vertices(accumulated(seen.logits), target)},
                             {options.edge_weight, irg_loss(seen.student, seen.teacher.embedding).total}});
      });
}

}  // namespace

MethodInfo irg_method() {
  return {.name = "irg",
          .paper = "Liu et al., Knowledge Distillation via Instance Relationship Graph, CVPR 2019",
          .needs = {.teacher = true, .labels = true},
          .options = rows_of<IrgOptions>(),
          .make = make_irg,
          .views = teachers_view,
          .loss_alone = [](DrawnInputs& in) -> LossCall {
            return [s = in.student(), t = in.teacher()] { return irg_loss(s, t); };
          }};
}

}  // namespace coss
