// Renormalized: wraps a network, so that it takes images with another normalization than its weights were trained with.
#pragma once
#include <memory>

#include "models/network.h"

namespace coss {

class Renormalized : public Network {
 public:
  // The images are normalized by `given`; the inner network wants them normalized by `wanted`.
  Renormalized(std::unique_ptr<Network> inner, const Normalization& given, const Normalization& wanted);

  Var features(const Var& images, Mode mode, const Tensor& step = {}, std::vector<Var>* stages = nullptr) override;
  Var logits(const Var& features, Mode mode, const Tensor& step = {}) override;

 private:
  std::unique_ptr<Network> inner_;
  Normalization given_, wanted_;
  Tensor scale_, shift_;  // (1,1,3) in the images' dtype and (3) in A, made when the first images come
};

}  // namespace coss
