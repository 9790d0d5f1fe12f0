// What a published network costs at its own image size, found on the dry device, which computes nothing.
#pragma once
#include "models/network.h"

namespace coss {

struct ModelCost {
  int64_t parameters = 0;  // trainable numbers
  // Multiply-accumulates of the forward pass for one image: of convolutions, linear layers and the two products in
  // attention. Norms, activations and poolings are not counted.
  int64_t macs = 0;
};
ModelCost cost_of(const ModelInfo& model);

// Bytes that a training step takes for one more image in a batch: the growth of the pool's peak over forward and
// backward, that is activations until their backward, and gradients. Parameters, optimizer state and scratch are not in
// it. `dtype` is that of the activations. Only one thread may call this at a time, because it exchanges the dry
// device's pool.
int64_t training_memory(const ModelInfo& model, DType dtype);

}  // namespace coss
