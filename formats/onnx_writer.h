// Writes ONNX (opset 17): a recorded forward pass (autograd/graph.h) as a file that other programs can run.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "autograd/graph.h"

namespace coss {

struct OnnxOutput {
  std::string name;  // "features"
  Tensor value;      // of the recorded pass
};

// The pass must have run in f32 on one image, `images` (1,H,W,3); the file takes any number of images, as
// (batch,3,H,W). A tensor that no node has made is a constant (weights with folded norms). Writes through AtomicFile.
// Error when an output does not depend on the images, or when the file would be larger than protobuf's 2 GiB.
void write_onnx(const std::string& path, const Graph& graph, const Tensor& images,
                const std::vector<OnnxOutput>& outputs, const std::map<std::string, std::string>& metadata);

}  // namespace coss
