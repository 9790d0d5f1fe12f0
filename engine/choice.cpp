// Names to devices and dtypes.
#include "engine/choice.h"

#include <algorithm>

#include "engine/kernels.h"

namespace coss {

Device resolve_device(const std::string& name) {
  if (name != "auto") return parse_device(name);
  return is_usable(Device::cuda) ? Device::cuda : Device::cpu;
}

DType resolve_dtype(const std::string& name, Device device) {
  if (name != "auto") return parse_dtype(name);
  DeviceInfo info;
  kernels(device).probe(info);
  return std::count(info.fast.begin(), info.fast.end(), DType::bf16) > 0 ? DType::bf16 : DType::f32;
}

std::string dtype_name(DType dtype) {
  return dtype == DType::f32 ? "fp32" : dtype == DType::f16 ? "fp16" : name_of(dtype);
}

void prepare_device(Device device, DType dtype, bool tf32, int threads) {
  set_threads(threads);
  require(device);
  COSS_CHECK(device == Device::cuda || dtype != DType::f16, "fp16 is for GPUs: use bf16, or --device cuda");
  COSS_CHECK(device == Device::cuda || !tf32, "TF32 is for GPUs: leave it out, or use --device cuda");
  context(device).set_allow_tf32(tf32);
}

}  // namespace coss
