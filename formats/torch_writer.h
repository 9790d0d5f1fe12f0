// Writes PyTorch's zip container: a file that torch.load(path, weights_only=True) reads as an OrderedDict.
#pragma once
#include "formats/safetensors.h"

namespace coss {

// Takes every dtype of FileDType; the file may have up to 4 GiB. Writes through AtomicFile.
void write_torch_zip(const std::string& path, const std::vector<NamedTensor>& tensors);

}  // namespace coss
