// Writes the network of a checkpoint as ONNX.
#pragma once
#include <map>
#include <string>

#include "evaluation/checkpoint.h"

namespace coss {

// Loads the checkpoint's network, records a frozen forward pass, and writes it to `out`: from images normalized by the
// caller, (batch,3,H,W) at the network's own size, to `features` and, where the file has a trained classifier,
// `logits`.
void export_onnx(const Checkpoint& checkpoint, const std::string& out,
                 const std::map<std::string, std::string>& metadata);

}  // namespace coss
