// SMD (Liu and Ye, "Improving Self-supervised Lightweight Model Learning via Hard-Aware Metric Distillation", ECCV
// 2022), as released: with rows of unit length, d_t = distances within the teacher and d = distances of teacher rows to
// student rows, image j is a negative of anchor i where d_t[i,j] > d[i,i]. Of the negatives the one with the least d,
// of the others the one with the greatest: cross-entropy for the former over {[d_t - d]+ d / tau, [d - d_t]+ d / tau},
// where the brackets are constants in the gradient. Two views, averaged; in the first epochs -cos is added.
//
// As in the program distances are at least 1e-6, and an anchor without negatives has 0 in place of the first number. An
// anchor's distance to itself is that least one (the program's is what rounding leaves).
#pragma once
#include <memory>

#include "losses/frame/heads.h"
#include "losses/method.h"

namespace coss {

// The loss alone: student, teacher (N,D) of one accumulator dtype, of any length; cosine_weight (1) of that dtype.
// values: {distance + cosine_weight * cosine, distance, cosine}, cosine = -mean cos of the own pairs.
LossTerms smd_loss(float temperature, const Tensor& cosine_weight, const Var& student, const Tensor& teacher);

class SmdMethod : public Method {
 public:
  SmdMethod(const MethodOptions& options, const MethodParts& parts);
  LossTerms forward(const StepInputs& inputs) override;
  std::vector<std::string> term_names() const override { return {"total", "distance", "cosine"}; }

 private:
  Network &student_, &teacher_;
  std::unique_ptr<ProjectionHead> head_;
  float temperature_;
  double warm_steps_;  // updates with the cosine term
};

}  // namespace coss
