// Ema: exponential moving average of all parameters; running statistics are copied.
#pragma once
#include <vector>

#include "training/optimizer.h"

namespace coss {

class Ema {
 public:
  // Starts from the current values.
  Ema(Params& params, float decay);
  // average = decay * average + (1 - decay) * value; after every optimizer step.
  void step(Params& params);
  // Exchanges averages and parameters, for an evaluation; called again, it restores them.
  void swap(Params& params);
  // For checkpoints: writing into the storage restores it.
  std::vector<StateTensor> state() const;

 private:
  float decay_;
  Tensor weights_, rest_, stats_;
};

}  // namespace coss
