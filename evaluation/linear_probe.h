// The linear probe: a linear classifier on frozen, cached features.
//
// sgd: MoCo's protocol (He et al., CVPR 2020): weights N(0, 0.01), learning rate 30, momentum 0.9, no decay, batch 256,
// 100 epochs, a tenth of the rate at 60 % and at 80 %. The features are of central crops, computed once; the published
// figures use fresh crops each epoch.
//
// lbfgs: multinomial logistic regression, the L2 penalty chosen among `penalties` values on a random 30 % of the
// training images and refitted on all (Kornblith et al., CVPR 2019).
#pragma once
#include <cstdint>
#include <string>

#include "evaluation/features.h"

namespace coss {

struct LinearProbeOptions {
  std::string solver = "sgd";
  int64_t epochs = 100;
  float learning_rate = 30;
  int penalties = 45;
  uint64_t seed = 0;
  Device device = Device::cpu;
};

struct LinearProbeResult {
  double top1 = 0, top5 = 0;  // percent, test rows
  double penalty = 0;         // lbfgs: the penalty that was chosen, per training image
};

// Trains on `train` and grades on `test`. Throws Error on rows without labels, on too few images, and if the training
// diverges.
LinearProbeResult linear_probe(const Features& train, const Features& test, const LinearProbeOptions& options);

}  // namespace coss
