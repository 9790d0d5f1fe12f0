// The fixture of the kernel tests: one body per kernel, run for every device and dtype. Each tensor exists twice, on
// the device under test and, from the same rounded values, in double on the reference; both backends run the kernel and
// the results are compared by normalized error.
#pragma once
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "tests/support/support.h"

namespace coss::test {

struct Backend {
  Device device;
  DType compute;
};

inline void PrintTo(const Backend& backend, std::ostream* stream) {
  *stream << name_of(backend.device) << " " << name_of(backend.compute);
}

inline std::vector<Backend> backends() {
  std::vector<Backend> list;
  for (Device device : devices_under_test()) {
    for (DType compute : {DType::f32, DType::bf16, DType::f16})
      if (compute != DType::f16 || device == Device::cuda) list.push_back({device, compute});
  }
  return list;
}

inline std::string backend_name(const Backend& backend) {
  return std::string(name_of(backend.device)) + "_" + name_of(backend.compute);
}

// Side 0 is the device under test, side 1 the reference.
struct Twin {
  std::array<Tensor, 2> sides;
  Tensor& operator[](int side) { return sides[size_t(side)]; }
};

// f32: both backends get the same rounded inputs, so only the order of the sums differs. bf16: the result is rounded
// once, and the square of that error is below 2^-18. f16: the same with 2^-22.
inline double bound(DType dtype) { return dtype == DType::f32 ? 1e-11 : dtype == DType::f16 ? 2.5e-7 : 5e-6; }

class KernelTestBase {
 protected:
  explicit KernelTestBase(Backend backend) : backend_(backend) {}

  DType compute() const { return backend_.compute; }
  DType accumulator() const { return accumulator_of(backend_.compute); }

  Twin twin(const std::vector<double>& values, Shape shape, DType dtype) const {
    const Tensor tested = make_tensor(values, shape, dtype, backend_.device);
    const bool whole = dtype == DType::i32 || dtype == DType::i64 || dtype == DType::u8;
    return {{tested, convert(tested, whole ? dtype : DType::f64, Device::reference)}};
  }
  Twin normal(Shape shape, DType dtype, uint64_t seed, double stddev = 1) const {
    return twin(random_tensor(shape, DType::f64, Device::reference, seed, stddev).to_doubles(), shape, dtype);
  }
  Twin constant(double value, Shape shape, DType dtype) const {
    return twin(std::vector<double>(size_t(shape.numel()), value), shape, dtype);
  }
  // Memory that a kernel must overwrite. It is filled with NaN, or with bytes of 255.
  Twin output(Shape shape, DType dtype) const {
    return constant(dtype == DType::u8 ? 255 : std::numeric_limits<double>::quiet_NaN(), shape, dtype);
  }

  // run(kernels, context, side) once per side.
  template <class Run>
  void both(Run run) const {
    for (int side : {0, 1}) {
      const Device device = side ? Device::reference : backend_.device;
      run(kernels(device), context(device), side);
    }
  }

  // Each use with looser > 1 gives its reason.
  static void expect_close(Twin& y, double looser = 1) {
    EXPECT_LE(normalized_error(y[0], y[1]), bound(y[0].dtype()) * looser);
  }
  static void expect_equal(Twin& y) { EXPECT_EQ(y[0].to_doubles(), y[1].to_doubles()); }

  Backend backend_;
};

class KernelTest : public testing::TestWithParam<Backend>, protected KernelTestBase {
 protected:
  KernelTest() : KernelTestBase(GetParam()) {}
};

// One line per suite: its tests run for every backend.
#define COSS_KERNEL_SUITE(suite)                                           \
  class suite : public KernelTest {};                                      \
  INSTANTIATE_TEST_SUITE_P(Backends, suite, testing::ValuesIn(backends()), \
                           [](const auto& test) { return backend_name(test.param); })

}  // namespace coss::test
