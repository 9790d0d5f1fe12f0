// `dinoss` of the CoSS code (paganpasta/coss-pytorch): `dino` (losses/dino.h) plus 0.5 times the same on the transposed
// matrices, where the images of the batch are the classes of each feature dimension: space similarity by softmax.
// Nothing differs from that code.
#pragma once
#include "losses/frame/feature_method.h"

namespace coss {

// student, teacher (N,D) of one dtype; values: {total, row, column}, the latter two unweighted.
LossTerms dinoss_loss(const Temperatures& temperatures, float column_weight, const Var& student, const Tensor& teacher);

class DinossMethod : public FeatureMethod {
 public:
  DinossMethod(const MethodOptions& options, const MethodParts& parts)
      : FeatureMethod(options, parts),
        temperatures_(temperatures_of(options)),
        column_weight_(options.real("column_weight")) {}
  std::vector<std::string> term_names() const override { return {"total", "row", "column"}; }

 private:
  LossTerms loss(const Var& student, const Tensor& teacher) const override {
    return dinoss_loss(temperatures_, column_weight_, student, teacher);
  }

  Temperatures temperatures_;
  float column_weight_;
};

}  // namespace coss
