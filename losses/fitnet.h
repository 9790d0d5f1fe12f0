// FitNet (Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015), as RepDistiller trains it, in one stage with
// the labels: a regressor (convolution, batch norm, ReLU) takes the student's map of one stage to the teacher's
// channels; mean of the squared differences. Weight 100, stage 2. The paper trains the regressor and the layers before
// it first; RepDistiller's bias of the convolution, which the norm takes away again, is left out.
//
// With layer 0 the pooled features are compared instead: EGA's comparison (BMVC 2022) takes linear embeddings of 256
// numbers on both sides, the teacher's trained by its own classification at the same time, and weight 1.
#pragma once
#include <memory>

#include "layers/conv_norm.h"
#include "losses/frame/map_method.h"
#include "losses/nce.h"

namespace coss {

// Mean of the squared differences: student, teacher of one shape and compute dtype. values: {total}.
LossTerms mse_loss(const Var& student, const Tensor& teacher);

class FitnetMethod : public MapMethod {
 public:
  FitnetMethod(const MethodOptions& options, const MethodParts& parts);

 private:
  Var distance(const Seen& seen) override;

  size_t stage_;
  std::unique_ptr<ConvNorm> regressor_;
};

// method.layer=0
class FitnetEmbeddingMethod : public Method {
 public:
  FitnetEmbeddingMethod(const MethodOptions& options, const MethodParts& parts);
  LossTerms forward(const StepInputs& inputs) override;
  std::vector<std::string> term_names() const override { return {"total", "hint", "label"}; }
  void prepare(Device device, DType compute, uint64_t seed) override { networks_.prepare(device, compute, seed); }
  Params* companion() override { return networks_.companion(); }

 private:
  EmbeddedPair networks_;
  float weight_, label_weight_;
};

std::unique_ptr<Method> make_fitnet(const MethodOptions& options, const MethodParts& parts);

}  // namespace coss
