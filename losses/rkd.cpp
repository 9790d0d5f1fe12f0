// RKD: the loss on inner products of centered rows, the method on pooled features.
#include "losses/rkd.h"

#include "autograd/ops.h"
#include "losses/frame/fused.h"
#include "losses/frame/relations.h"

namespace coss {

LossTerms rkd_loss(const RkdParams& params, const Var& student, const Tensor& teacher) {
  check_same_rows("rkd", student.value, teacher);
  const Var of_student = gram(centered_over_batch(student));
  const Tensor of_teacher = gram(centered_over_batch(Var(teacher))).value;
  return fused_loss(of_student, 3, [&](Tensor& terms, Tensor& dgram) {
    kernels(terms).rkd_loss(context(terms.device()), params, of_student.value, of_teacher, terms, dgram);
  });
}

namespace {

RkdParams params_of(const MethodOptions& options) {
  const RkdParams params{options.real("distance_weight"), options.real("angle_weight")};
  COSS_CHECK(params.distance_weight >= 0 && params.angle_weight >= 0,
             "method.distance_weight and method.angle_weight must not be negative");
  return params;
}

}  // namespace

RkdMethod::RkdMethod(const MethodOptions& options, const MethodParts& parts)
    : MapMethod("relations", options, parts), loss_(params_of(options)) {}

Var RkdMethod::distance(const Seen& seen) {
  return rkd_loss(loss_, flat_rows(seen.student), flat_rows(seen.teacher).value).total;
}

std::unique_ptr<Method> make_rkd(const MethodOptions& options, const MethodParts& parts) {
  if (options.whole("embedding") == 0) return std::make_unique<RkdMethod>(options, parts);
  return std::make_unique<EmbeddedRelation>("relations", options, parts,
                                            [params = params_of(options)](const EmbeddedPair::Output& seen) {
                                              return rkd_loss(params, seen.student, seen.teacher).total;
                                            });
}

}  // namespace coss
