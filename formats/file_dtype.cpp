// Sizes, names, byte order and conversion of the number formats in tensor files.
#include "formats/file_dtype.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

#include "engine/check.h"
#include "engine/types.h"

namespace coss {
namespace {

template <class T>
void convert(const uint8_t* bytes, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i) {
    T value;
    std::memcpy(&value, bytes + size_t(i) * sizeof(T), sizeof(T));
    out[i] = static_cast<float>(value);
  }
}

// Both are read through half precision: E5M2 is the upper byte of a half; the exponent of E4M3 has a bias that is 8
// less.
float float_from_e5m2(uint8_t bits) { return static_cast<float>(std::bit_cast<f16>(uint16_t(bits << 8))); }
float float_from_e4m3(uint8_t bits) {
  if ((bits & 0x7f) == 0x7f) return std::numeric_limits<float>::quiet_NaN();
  const uint16_t half = uint16_t((bits & 0x80) << 8 | (bits & 0x7f) << 7);
  return 256 * static_cast<float>(std::bit_cast<f16>(half));
}

}  // namespace

int64_t size_of(FileDType dtype) {
  switch (dtype) {
    case FileDType::c128:
      return 16;
    case FileDType::f64:
    case FileDType::i64:
    case FileDType::u64:
    case FileDType::c64:
      return 8;
    case FileDType::f32:
    case FileDType::i32:
    case FileDType::u32:
      return 4;
    case FileDType::f16:
    case FileDType::bf16:
    case FileDType::i16:
    case FileDType::u16:
      return 2;
    case FileDType::i8:
    case FileDType::u8:
    case FileDType::boolean:
    case FileDType::f8_e4m3:
    case FileDType::f8_e5m2:
      return 1;
  }
  return 0;
}

const char* name_of(FileDType dtype) {
  constexpr const char* kNames[] = {"f64", "f32", "f16", "bf16", "i64", "i32",  "i16",     "i8",     "u64",
                                    "u32", "u16", "u8",  "bool", "c64", "c128", "f8_e4m3", "f8_e5m2"};
  return kNames[size_t(dtype)];
}

int64_t checked_numel(const std::vector<int64_t>& shape, FileDType dtype, const std::string& what) {
  int64_t bytes = size_of(dtype);
  bool empty = false;
  for (int64_t dim : shape) {
    COSS_CHECK(dim >= 0, what + " has the impossible shape " + shape_text(shape));
    empty |= dim == 0;
    // A later dimension of 0 does not excuse an overflow before it, because products over part of the shape are used
    // elsewhere.
    COSS_CHECK(!__builtin_mul_overflow(bytes, std::max<int64_t>(dim, 1), &bytes),
               what + " has the impossibly large shape " + shape_text(shape));
  }
  return empty ? 0 : bytes / size_of(dtype);
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "(";
  for (size_t axis = 0; axis < shape.size(); ++axis) text += (axis ? ", " : "") + std::to_string(shape[axis]);
  return text + ")";
}

void swap_byte_order(uint8_t* data, int64_t bytes, FileDType dtype) {
  const bool complex = dtype == FileDType::c64 || dtype == FileDType::c128;
  const int64_t width = size_of(dtype) / (complex ? 2 : 1);
  for (int64_t at = 0; at + width <= bytes; at += width) std::reverse(data + at, data + at + width);
}

void floats_from(const uint8_t* bytes, int64_t count, FileDType dtype, const std::string& what, float* out) {
  switch (dtype) {
    case FileDType::f64:
      convert<double>(bytes, count, out);
      break;
    case FileDType::f32:
      if (count > 0) std::memcpy(out, bytes, size_t(count) * sizeof(float));
      break;
    case FileDType::f16:
      convert<f16>(bytes, count, out);
      break;
    case FileDType::bf16:
      convert<bf16>(bytes, count, out);
      break;
    case FileDType::i64:
      convert<int64_t>(bytes, count, out);
      break;
    case FileDType::i32:
      convert<int32_t>(bytes, count, out);
      break;
    case FileDType::i16:
      convert<int16_t>(bytes, count, out);
      break;
    case FileDType::i8:
      convert<int8_t>(bytes, count, out);
      break;
    case FileDType::u64:
      convert<uint64_t>(bytes, count, out);
      break;
    case FileDType::u32:
      convert<uint32_t>(bytes, count, out);
      break;
    case FileDType::u16:
      convert<uint16_t>(bytes, count, out);
      break;
    case FileDType::u8:
      convert<uint8_t>(bytes, count, out);
      break;
    case FileDType::boolean:
      for (int64_t i = 0; i < count; ++i) out[i] = bytes[i] ? 1.f : 0.f;
      break;
    case FileDType::f8_e4m3:
      std::transform(bytes, bytes + count, out, float_from_e4m3);
      break;
    case FileDType::f8_e5m2:
      std::transform(bytes, bytes + count, out, float_from_e5m2);
      break;
    case FileDType::c64:
    case FileDType::c128:
      throw Error(what + " holds complex numbers, which have no float value");
  }
}

std::vector<float> floats_from(const std::vector<uint8_t>& bytes, FileDType dtype, const std::string& what) {
  std::vector<float> out(bytes.size() / size_t(size_of(dtype)));
  floats_from(bytes.data(), int64_t(out.size()), dtype, what, out.data());
  return out;
}

}  // namespace coss
