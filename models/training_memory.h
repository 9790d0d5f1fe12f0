// What a training step keeps in memory for each image: activations until their backward, and gradients.
#pragma once
#include "models/network.h"

namespace coss {

// Bytes for one more image in a batch at the model's own size: the growth of the pool's peak over forward and backward
// of the published network, found on the dry device. Parameters, optimizer state and scratch are not in it.
int64_t training_memory(const ModelInfo& model, DType dtype);

}  // namespace coss
