// Optimizers: each update is one kernel over each flat range, which also writes the compute copy and zeroes the
// gradient. What changes from step to step (learning rate, gradient scale) comes from a tensor of `Scalar`s on the
// device.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "layers/params.h"

namespace coss {

struct OptimizerOptions {
  std::string name = "sgd";  // sgd | adamw | lars
  float weight_decay = 0;
  bool decay_rest = true;                           // norm parameters and biases decay too
  float momentum = 0.9f;                            // sgd, lars
  bool nesterov = false;                            // sgd
  float beta1 = 0.9f, beta2 = 0.999f, eps = 1e-8f;  // adamw
  float trust = 0.001f;                             // lars; the rest range is not adapted
};

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  // One update of all ranges. scalars: f32 (kScalarCount) on the device. Gradients are zero afterwards.
  virtual void step(Params& params, const Tensor& scalars) = 0;
  // The state as flat tensors, for checkpoints. Writing into their storage restores it.
  virtual std::vector<StateTensor> state() const = 0;
};

// Makes an optimizer with state for `params`, which must be allocated and not frozen. Throws Error on an unknown name.
std::unique_ptr<Optimizer> make_optimizer(const OptimizerOptions& options, Params& params);
// The names that make_optimizer knows.
const std::vector<std::string>& optimizer_names();

}  // namespace coss
