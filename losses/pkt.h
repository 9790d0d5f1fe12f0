// PKT (Passalis and Tefas, "Learning Deep Representations with Probabilistic Knowledge Transfer", ECCV 2018): the
// probability of image j beside image i is (cosine of their features + 1) / 2 over the sum of its row; mean over N^2 of
// p_t log((p_t + eps) / (p_s + eps)), eps = 1e-7, diagonal included. As in RepDistiller, whose weight is 30000, but for
// the norm: it adds eps to it, here it is at least eps. Needs neither labels nor equal widths.
#pragma once
#include <memory>

#include "losses/frame/map_method.h"

namespace coss {

// The loss alone: student (N,D), teacher (N,E) of one accumulator dtype. values: {total}.
LossTerms pkt_loss(const Var& student, const Tensor& teacher);

class PktMethod : public MapMethod {
 public:
  PktMethod(const MethodOptions& options, const MethodParts& parts) : MapMethod("divergence", options, parts) {}

 private:
  Var distance(const Seen& seen) override;
};

// On features, or, with method.embedding, on embeddings (EmbeddedRelation).
std::unique_ptr<Method> make_pkt(const MethodOptions& options, const MethodParts& parts);

}  // namespace coss
