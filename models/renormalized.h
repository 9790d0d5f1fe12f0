// Renormalized: a network for images that come with another normalization than its weights were trained with.
#pragma once
#include <memory>

#include "models/network.h"

namespace coss {

class Renormalized : public Network {
 public:
  // Images are normalized as `given`, the inner network wants them as `wanted`.
  Renormalized(std::unique_ptr<Network> inner, const Normalization& given, const Normalization& wanted);

  Var features(const Var& images, Mode mode, const Tensor& step = {}, std::vector<Var>* stages = nullptr) override;
  Var logits(const Var& features, Mode mode, const Tensor& step = {}) override;
  int64_t macs(int64_t image_size) const override { return inner_->macs(image_size); }

 private:
  std::unique_ptr<Network> inner_;
  Normalization given_, wanted_;
  Tensor scale_, shift_;  // (1,1,3) C and (3) A, made for the first images
};

}  // namespace coss
