// Writing PyTorch's zip container: a file that torch.load(path, weights_only=True) gives back as an OrderedDict.
#pragma once
#include "formats/safetensors.h"

namespace coss {

// Every dtype of FileDType; up to 4 GiB. Written aside, synchronized and renamed.
void write_torch_zip(const std::string& path, const std::vector<NamedTensor>& tensors);

}  // namespace coss
