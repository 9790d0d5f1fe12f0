// Shape, DType and Device: the three plain facts that every tensor carries.
#pragma once
#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

namespace coss {

// Dense and row-major, at most four dimensions. Images are (N,H,W,C), convolution weights (K,R,S,C), depthwise
// weights (R,S,C). Rank 0 is an empty shape with numel() == 0; a scalar is Shape{1}.
struct Shape {
  static constexpr int kMaxRank = 4;
  std::array<int64_t, kMaxRank> dims{1, 1, 1, 1};
  int rank = 0;

  Shape() = default;
  Shape(std::initializer_list<int64_t> list);
  int64_t operator[](int axis) const { return dims[size_t(axis)]; }
  int64_t back() const { return dims[size_t(rank - 1)]; }
  int64_t numel() const { return rank == 0 ? 0 : dims[0] * dims[1] * dims[2] * dims[3]; }
  // All dimensions but the last, multiplied: the number of rows of a row-major matrix view.
  int64_t rows() const { return back() == 0 ? 0 : numel() / back(); }
  bool operator==(const Shape&) const = default;
  std::string str() const;  // "(64, 56, 56, 256)"
};

enum class DType : uint8_t { f32, bf16, f16, f64, i32, i64, u8 };

size_t size_of(DType dtype);                 // bytes of one element
const char* name_of(DType dtype);            // "f32"
DType parse_dtype(const std::string& text);  // accepts fp32|f32|bf16|fp16|f16|f64; throws Error

// The dtype of statistics, norm parameters, losses, reductions and optimizer state of a network that computes in
// `compute`.
inline DType accumulator_of(DType compute) { return compute == DType::f64 ? DType::f64 : DType::f32; }

// reference is a naive backend in double that only the tests link; it checks the first two. dry has no memory and
// computes nothing: after a run only the shapes and the pool's counters are known.
enum class Device : uint8_t { cpu, cuda, reference, dry };

const char* name_of(Device device);
Device parse_device(const std::string& text);  // "cpu" | "cuda"; throws Error

// 16-bit storage types. Arithmetic is in float; conversion rounds to nearest even and keeps NaN.
struct bf16 {
  uint16_t bits = 0;
  bf16() = default;
  explicit bf16(float value);
  explicit operator float() const;
};
struct f16 {
  uint16_t bits = 0;
  f16() = default;
  explicit f16(float value);
  explicit operator float() const;
};

template <class T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::f32;
};
template <>
struct DTypeOf<bf16> {
  static constexpr DType value = DType::bf16;
};
template <>
struct DTypeOf<f16> {
  static constexpr DType value = DType::f16;
};
template <>
struct DTypeOf<double> {
  static constexpr DType value = DType::f64;
};
template <>
struct DTypeOf<int32_t> {
  static constexpr DType value = DType::i32;
};
template <>
struct DTypeOf<int64_t> {
  static constexpr DType value = DType::i64;
};
template <>
struct DTypeOf<uint8_t> {
  static constexpr DType value = DType::u8;
};

}  // namespace coss
