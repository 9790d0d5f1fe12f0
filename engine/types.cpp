// Names, sizes and 16-bit conversions of the element types.
#include "engine/types.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "engine/check.h"

namespace coss {

Shape::Shape(std::initializer_list<int64_t> list) : rank(int(list.size())) {
  COSS_ASSERT(list.size() <= size_t(kMaxRank));
  size_t axis = 0;
  // So that no product of dimensions and bytes of an element overflows, whatever a recipe or a file asks for.
  constexpr int64_t kMost = int64_t(1) << 56;
  int64_t product = 1;
  bool fits = true;
  for (int64_t dim : list) {
    dims[axis++] = dim;
    fits = fits && !__builtin_mul_overflow(product, std::max<int64_t>(dim, 1), &product);
  }
  COSS_CHECK(fits && product <= kMost, "a tensor of shape " + str() + " is impossibly large");
}

std::string Shape::str() const {
  std::string text = "(";
  for (int axis = 0; axis < rank; ++axis) text += (axis ? ", " : "") + std::to_string(dims[size_t(axis)]);
  return text + ")";
}

size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::f64:
    case DType::i64:
      return 8;
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::bf16:
    case DType::f16:
      return 2;
    case DType::u8:
      return 1;
  }
  return 0;
}

const char* name_of(DType dtype) {
  constexpr const char* kNames[] = {"f32", "bf16", "f16", "f64", "i32", "i64", "u8"};
  return kNames[size_t(dtype)];
}

DType parse_dtype(const std::string& text) {
  if (text == "fp32" || text == "f32") return DType::f32;
  if (text == "bf16") return DType::bf16;
  if (text == "fp16" || text == "f16") return DType::f16;
  if (text == "fp64" || text == "f64") return DType::f64;
  throw Error("unknown dtype '" + text + "': use fp32 or bf16");
}

const char* name_of(Device device) {
  constexpr const char* kNames[] = {"cpu", "cuda", "reference", "dry"};
  return kNames[size_t(device)];
}

Device parse_device(const std::string& text) {
  if (text == "cpu") return Device::cpu;
  if (text == "cuda") return Device::cuda;
  throw Error("unknown device '" + text + "': use cpu or cuda");
}

bf16::bf16(float value) {
  const auto word = std::bit_cast<uint32_t>(value);
  bits = std::isnan(value) ? uint16_t((word >> 16) | 0x40u) : uint16_t((word + 0x7fffu + ((word >> 16) & 1u)) >> 16);
}

bf16::operator float() const { return std::bit_cast<float>(uint32_t(bits) << 16); }

f16::f16(float value) {
  const auto word = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (word >> 16) & 0x8000u, magnitude = word & 0x7fffffffu;
  if (magnitude > 0x7f800000u) {
    bits = uint16_t(sign | 0x7e00u);
  } else if (magnitude >= 0x477ff000u) {  // rounds to 65536 or more
    bits = uint16_t(sign | 0x7c00u);
  } else if (magnitude < 0x38800000u) {  // subnormal: let the float adder round at 2^-24
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    bits = uint16_t(sign | (std::bit_cast<uint32_t>(shifted) - std::bit_cast<uint32_t>(0.5f)));
  } else {
    bits = uint16_t(sign | ((magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13));
  }
}

f16::operator float() const {
  const uint32_t sign = uint32_t(bits & 0x8000u) << 16, magnitude = bits & 0x7fffu;
  if (magnitude >= 0x7c00u) return std::bit_cast<float>(sign | 0x7f800000u | ((magnitude & 0x3ffu) << 13));
  if (magnitude >= 0x0400u) return std::bit_cast<float>(sign | ((magnitude << 13) + 0x38000000u));
  const float value = float(magnitude) * 0x1p-24f;
  return sign ? -value : value;
}

}  // namespace coss
