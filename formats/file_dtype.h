// FileDType: the number formats that tensor files hold, and their conversion to float.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace coss {

enum class FileDType : uint8_t {
  f64,
  f32,
  f16,
  bf16,
  i64,
  i32,
  i16,
  i8,
  u64,
  u32,
  u16,
  u8,
  boolean,
  c64,
  c128,
  f8_e4m3,  // sign, 4 bits of exponent, 3 of mantissa; NaN but no infinity (torch.float8_e4m3fn)
  f8_e5m2   // sign, 5 bits of exponent, 2 of mantissa (torch.float8_e5m2)
};

int64_t size_of(FileDType dtype);      // bytes of one element
const char* name_of(FileDType dtype);  // "f32"

// Row-major product of a shape; Error naming `what` when a dimension is negative or the bytes do not fit 63 bits.
int64_t checked_numel(const std::vector<int64_t>& shape, FileDType dtype, const std::string& what);
std::string shape_text(const std::vector<int64_t>& shape);  // "(64, 3, 7, 7)"

// Reverses the bytes of every number in place (each half of a complex number by itself).
void swap_byte_order(uint8_t* data, int64_t bytes, FileDType dtype);
inline void swap_byte_order(std::vector<uint8_t>& bytes, FileDType dtype) {
  swap_byte_order(bytes.data(), int64_t(bytes.size()), dtype);
}
// Converts every number to float; complex numbers are an Error that names `what`.
void floats_from(const uint8_t* bytes, int64_t count, FileDType dtype, const std::string& what, float* out);
std::vector<float> floats_from(const std::vector<uint8_t>& bytes, FileDType dtype, const std::string& what);

}  // namespace coss
