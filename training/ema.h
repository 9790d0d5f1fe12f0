// Ema: the exponential moving average of all parameters. Running statistics are copied, not averaged.
#pragma once
#include <vector>

#include "training/optimizer.h"

namespace coss {

class Ema {
 public:
  // Starts from the current values.
  Ema(Params& params, float decay);
  // average = decay * average + (1 - decay) * value. Called after every update.
  void step(Params& params);
  // Exchanges averages and parameters, for an evaluation or a file. A second call restores them.
  void swap(Params& params);
  // The averages, for checkpoints. Writing into their storage restores them.
  std::vector<StateTensor> state() const;

 private:
  float decay_;
  Tensor weights_, rest_, stats_;
};

}  // namespace coss
