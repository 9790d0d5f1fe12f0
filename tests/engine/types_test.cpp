// Shape, DType names and the 16-bit conversions.
#include "engine/types.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "engine/check.h"

namespace coss {

TEST(Shape, CountsElementsAndRows) {
  const Shape shape{2, 3, 4, 5};
  EXPECT_EQ(shape.rank, 4);
  EXPECT_EQ(shape.numel(), 120);
  EXPECT_EQ(shape.rows(), 24);
  EXPECT_EQ(shape.back(), 5);
  EXPECT_EQ(shape.str(), "(2, 3, 4, 5)");
  EXPECT_EQ(Shape{7}.rows(), 1);
  EXPECT_EQ(Shape().numel(), 0);
  EXPECT_EQ((Shape{3, 0}.numel()), 0);
  EXPECT_EQ((Shape{3, 0}.rows()), 0);
}

TEST(Shape, ComparesRankAndDimensions) {
  EXPECT_EQ((Shape{2, 3}), (Shape{2, 3}));
  EXPECT_NE((Shape{2, 3}), (Shape{3, 2}));
  EXPECT_NE((Shape{2}), (Shape{2, 1}));
}

TEST(DType, NamesAndSizes) {
  for (const char* name : {"f32", "bf16", "f16", "f64"}) EXPECT_STREQ(name_of(parse_dtype(name)), name);
  EXPECT_EQ(parse_dtype("fp32"), DType::f32);
  EXPECT_EQ(parse_dtype("fp16"), DType::f16);
  EXPECT_THROW(parse_dtype("int8"), Error);
  EXPECT_EQ(size_of(DType::bf16), 2u);
  EXPECT_EQ(size_of(DType::f64), 8u);
  EXPECT_EQ(size_of(DType::u8), 1u);
  EXPECT_EQ(accumulator_of(DType::bf16), DType::f32);
  EXPECT_EQ(accumulator_of(DType::f64), DType::f64);
}

TEST(Device, NamesAreParsedBack) {
  EXPECT_EQ(parse_device("cpu"), Device::cpu);
  EXPECT_EQ(parse_device("cuda"), Device::cuda);
  EXPECT_THROW(parse_device("tpu"), Error);
}

namespace {

template <class Half>
Half from_bits(int bits) {
  Half half;
  half.bits = uint16_t(bits);
  return half;
}

// Every bit pattern is the same after conversion to float and back; a NaN stays a NaN.
template <class Half>
void expect_round_trip() {
  for (int bits = 0; bits < 65536; ++bits) {
    const float value = float(from_bits<Half>(bits));
    if (std::isnan(value))
      EXPECT_TRUE(std::isnan(float(Half(value)))) << bits;
    else
      EXPECT_EQ(int(Half(value).bits), bits);
  }
}

// Between two finite neighbors, a value just below the middle rounds down, the middle to the even pattern, a value just
// above up.
template <class Half>
void expect_nearest_even(int infinity) {
  for (int sign : {0, 0x8000}) {
    for (int bits = 0; bits + 1 < infinity; ++bits) {
      const double low = double(float(from_bits<Half>(bits | sign)));
      const double high = double(float(from_bits<Half>((bits + 1) | sign)));
      const auto middle = float((low + high) / 2);
      const float toward_zero = std::nextafter(middle, 0.0f), away = std::nextafter(middle, 2 * middle);
      ASSERT_EQ(int(Half(middle).bits), ((bits & 1) ? bits + 1 : bits) | sign);
      if (bits == 0 && infinity == 0x7f80) continue;  // no float lies between zero and the middle below the least bf16
      ASSERT_EQ(int(Half(toward_zero).bits), bits | sign);
      ASSERT_EQ(int(Half(away).bits), (bits + 1) | sign);
    }
  }
}

}  // namespace

TEST(Bf16, RoundTripsEveryPattern) { expect_round_trip<bf16>(); }
TEST(F16, RoundTripsEveryPattern) { expect_round_trip<f16>(); }
TEST(Bf16, RoundsToNearestEven) { expect_nearest_even<bf16>(0x7f80); }
TEST(F16, RoundsToNearestEven) { expect_nearest_even<f16>(0x7c00); }

TEST(Bf16, OverflowsToInfinity) {
  EXPECT_EQ(float(bf16(std::numeric_limits<float>::max())), std::numeric_limits<float>::infinity());
  // A NaN whose payload is only in the dropped bits must not become infinity.
  EXPECT_TRUE(std::isnan(float(bf16(std::bit_cast<float>(0x7f800001u)))));
}

TEST(F16, KnowsItsLimits) {
  EXPECT_EQ(float(f16(65504.0f)), 65504.0f);
  EXPECT_EQ(float(f16(65519.0f)), 65504.0f);
  EXPECT_EQ(float(f16(65520.0f)), std::numeric_limits<float>::infinity());
  EXPECT_EQ(float(f16(0x1p-24f)), 0x1p-24f);  // the least subnormal
  EXPECT_EQ(float(f16(0x1p-25f)), 0.0f);      // half of it is a tie with zero
  EXPECT_EQ(float(f16(0x1.8p-25f)), 0x1p-24f);
  EXPECT_EQ(float(f16(-0x1.ff8p-15f)), -0x1.ff8p-15f);  // the greatest subnormal
  EXPECT_TRUE(std::signbit(float(f16(-1e-30f))));
}

}  // namespace coss
