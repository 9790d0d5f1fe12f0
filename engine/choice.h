// The device and the dtype that a name stands for, `auto` included.
#pragma once
#include <string>

#include "engine/types.h"

namespace coss {

// "cpu", "cuda", or "auto": the GPU if one can be used, else the processor.
Device resolve_device(const std::string& name);
// "fp32", "bf16", "fp16", or "auto": bf16 where the device has instructions for it, in which it trains fastest, else
// fp32.
DType resolve_dtype(const std::string& name, Device device);
// The name that options and recipes use: "fp32", "bf16", "fp16".
std::string dtype_name(DType dtype);

// Sets the threads and TF32. Throws Error where the device cannot be used or does not compute in this dtype.
void prepare_device(Device device, DType dtype, bool tf32, int threads);

}  // namespace coss
