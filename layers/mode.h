// Mode: whether a layer trains or serves. An argument of every call, never a state of the layer.
#pragma once
#include <cstdint>

namespace coss {

enum class Mode : uint8_t { train, eval };

}  // namespace coss
