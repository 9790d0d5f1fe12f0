// Mode: whether a layer is in training or in use. It is an argument of every call, never a state of the layer.
#pragma once
#include <cstdint>

namespace coss {

enum class Mode : uint8_t { train, eval };

}  // namespace coss
