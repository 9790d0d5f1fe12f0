// Centering, transposition and the gradient of softmax against the reference.
#include "tests/engine/kernel_test.h"

namespace coss::test {

COSS_KERNEL_SUITE(Matrices);

constexpr std::array<std::pair<int64_t, int64_t>, 7> kShapes{
    {{1, 1}, {1, 37}, {70, 1}, {16, 32}, {33, 17}, {70, 13}, {2, 5001}}};

TEST_P(Matrices, CenterRows) {
  for (const auto& [rows, columns] : kShapes) {
    SCOPED_TRACE(Shape({rows, columns}).str());
    Twin x = normal({rows, columns}, compute(), 1), y = output({rows, columns}, compute());
    both([&](const Kernels& k, Context& c, int side) { k.center_rows(c, x[side], y[side]); });
    if (columns > 1)
      expect_close(y);
    else
      for (const double value : y[0].to_doubles()) EXPECT_EQ(value, 0);
  }
}

TEST_P(Matrices, Transpose) {
  for (const auto& [rows, columns] : kShapes) {
    SCOPED_TRACE(Shape({rows, columns}).str());
    Twin x = normal({rows, columns}, compute(), 1), y = output({columns, rows}, compute());
    both([&](const Kernels& k, Context& c, int side) { k.transpose(c, x[side], y[side]); });
    expect_equal(y);
  }
}

TEST_P(Matrices, SoftmaxBackward) {
  for (const auto& [rows, columns] : kShapes) {
    for (const float temperature : {1.0f, 0.07f}) {
      SCOPED_TRACE(Shape({rows, columns}).str());
      Twin x = normal({rows, columns}, compute(), 1, 0.3), dy = normal({rows, columns}, compute(), 2);
      Twin y = output({rows, columns}, compute()), dx = output({rows, columns}, compute());
      kernels(backend_.device).softmax(context(backend_.device), temperature, x[0], y[0]);
      y[1] = convert(y[0], DType::f64, Device::reference);  // both backends get the rounded y
      both([&](const Kernels& k, Context& c, int side) {
        k.softmax_backward(c, temperature, y[side], dy[side], dx[side]);
      });
      if (columns > 1)
        expect_close(dx, 3);  // one element that outweighs the others: its rounding is not averaged
      else
        for (const double value : dx[0].to_doubles()) EXPECT_EQ(value, 0);
    }
  }
  Twin y = normal({2, 3}, compute(), 1), dx = output({2, 3}, compute());
  EXPECT_THROW(kernels(backend_.device).softmax_backward(context(backend_.device), 0, y[0], y[0], dx[0]), Error);
}

TEST_P(Matrices, ConstantRowsBecomeZeros) {
  Twin x = constant(0.1, {5, 77}, compute()), y = output({5, 77}, compute());
  both([&](const Kernels& k, Context& c, int side) { k.center_rows(c, x[side], y[side]); });
  for (const double value : y[0].to_doubles()) EXPECT_NEAR(value, 0, 1e-7);
}

}  // namespace coss::test
