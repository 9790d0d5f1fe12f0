// PKT: the loss on cosines of rows, the method on pooled features.
#include "losses/pkt.h"

#include "autograd/ops.h"
#include "losses/frame/fused.h"
#include "losses/frame/relations.h"

namespace coss {

LossTerms pkt_loss(const Var& student, const Tensor& teacher) {
  constexpr float kEps = 1e-7f;
  check_same_rows("pkt", student.value, teacher);
  const Var of_student = gram(normalize_rows(kEps, student));
  const Tensor of_teacher = gram(normalize_rows(kEps, Var(teacher))).value;
  return fused_loss(of_student, 1, [&](Tensor& loss, Tensor& dcosines) {
    kernels(loss).pkt_loss(context(loss.device()), of_student.value, of_teacher, loss, dcosines);
  });
}

Var PktMethod::distance(const Seen& seen) {
  return pkt_loss(flat_rows(seen.student), flat_rows(seen.teacher).value).total;
}

std::unique_ptr<Method> make_pkt(const MethodOptions& options, const MethodParts& parts) {
  if (options.whole("embedding") == 0) return std::make_unique<PktMethod>(options, parts);
  return std::make_unique<EmbeddedRelation>("divergence", options, parts, [](const EmbeddedPair::Output& seen) {
    return pkt_loss(seen.student, seen.teacher).total;
  });
}

}  // namespace coss
