// IRG: edges and ways as operations, the method on features, stages and logits.
#include "losses/irg.h"

#include "autograd/ops.h"
#include "losses/frame/fused.h"
#include "losses/frame/heads.h"
#include "losses/frame/relations.h"

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

// Means of `group` neighboring channels.
Var mean_of_groups(const Var& x, int64_t group) {
  if (group == 1) return x;
  const int64_t channels = x.shape()[3] / group;
  const Var apart = shuffle_channels(x, channels);  // the first ones of all groups, then the second ones …
  Var sum = slice_channels(apart, 0, channels);
  for (int64_t i = 1; i < group; ++i) sum = add(sum, slice_channels(apart, i * channels, channels));
  return scale(sum, 1.0f / float(group));
}

// From one map to the next, (N,D).
Var way(const Var& from, const Var& to) {
  const Shape &a = from.shape(), &b = to.shape();
  COSS_CHECK(sizes_fit(a, b) && a[1] >= b[1] && b[3] % a[3] == 0,
             "the method irg cannot compare maps " + a.str() + " with maps " + b.str() +
                 ": method.path_weight=0 leaves the transformation out");
  const Var pooled = a[1] == b[1] ? from : avg_pool({.window = a[1] / b[1], .stride = a[1] / b[1], .pad = 0}, from);
  return flat_rows(add(pooled, scale(mean_of_groups(to, b[3] / a[3]), -1)));
}

// Logits of one accumulator dtype.
Var vertices(const Var& student, const Tensor& teacher) {
  check_alike("irg", student.value, teacher);
  return fused_loss(student, 1,
                    [&](Tensor& loss, Tensor& dstudent) {
                      kernels(loss).mse_loss(context(loss.device()), student.value, teacher, loss, dstudent);
                    })
      .total;
}

}  // namespace

IrgMethod::IrgMethod(const MethodOptions& options, const MethodParts& parts)
    : MapMethod("graph", options, parts),
      vertex_weight_(options.real("vertex_weight")),
      edge_weight_(options.real("edge_weight")),
      path_weight_(options.real("path_weight")),
      maps_(options.whole("maps") != 0) {
  COSS_CHECK(vertex_weight_ >= 0 && edge_weight_ >= 0 && path_weight_ >= 0, "the weights of IRG must not be negative");
  COSS_CHECK(vertex_weight_ > 0 || edge_weight_ > 0 || (maps_ && path_weight_ > 0),
             "the weights of IRG are all 0: nothing would be compared");
  COSS_CHECK(vertex_weight_ == 0 || (student_.classes > 0 && student_.classes == teacher_.classes),
             "IRG compares logits, the student has " + std::to_string(student_.classes) + " classes and the teacher " +
                 std::to_string(teacher_.classes) + ": set method.vertex_weight=0");
}

Var IrgMethod::edges(const Seen& seen) const {
  const auto of = [](const Var& student, const Var& teacher) {
    return irg_loss(flat_rows(student), flat_rows(teacher).value).total;
  };
  const Var features = of(seen.student, seen.teacher);
  if (!maps_) return features;
  const auto stage = [](const std::vector<Var>& stages, size_t back) { return stages[stages.size() - back]; };
  constexpr float kThird = 1.0f / 3;
  return weighted_sum({{kThird, features},
                       {kThird, of(stage(seen.student_stages, 2), stage(seen.teacher_stages, 2))},
                       {kThird, of(stage(seen.student_stages, 1), stage(seen.teacher_stages, 1))}});
}

Var IrgMethod::distance(const Seen& seen) {
  COSS_CHECK(!maps_ || (seen.student_stages.size() > 1 && seen.teacher_stages.size() > 1),
             "IRG compares maps of two stages, and one of the networks has none: set method.maps=0");
  Var sum;
  const auto put = [&](float weight, const Var& part) {
    const Var weighted = scale(part, weight);
    sum = sum.empty() ? weighted : add(sum, weighted);
  };
  if (vertex_weight_ > 0) {
    Tensor target;
    {
      const NoGrad guard;
      target = accumulated(teacher_.logits(seen.teacher, Mode::eval)).value;
    }
    put(vertex_weight_, vertices(accumulated(student_.logits(seen.student, Mode::train, seen.step)), target));
  }
  if (edge_weight_ > 0) put(edge_weight_, edges(seen));
  if (maps_ && path_weight_ > 0) {
    const auto of = [](const std::vector<Var>& stages) { return way(stages[stages.size() - 2], stages.back()); };
    put(path_weight_, irg_path_loss(of(seen.student_stages), of(seen.teacher_stages).value).total);
  }
  return sum;
}

std::unique_ptr<Method> make_irg(const MethodOptions& options, const MethodParts& parts) {
  if (options.whole("embedding") == 0) return std::make_unique<IrgMethod>(options, parts);
  const float vertex = options.real("vertex_weight"), edge = options.real("edge_weight");
  COSS_CHECK(vertex >= 0 && edge >= 0, "the weights of IRG must not be negative");
  return std::make_unique<EmbeddedRelation>("graph", options, parts, [=](const EmbeddedPair::Output& seen) {
    return weighted_sum({{vertex, vertices(accumulated(seen.logits), accumulated(Var(seen.teacher_logits)).value)},
                         {edge, irg_loss(seen.student, seen.teacher).total}});
  });
}

}  // namespace coss
