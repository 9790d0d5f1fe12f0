// Each drawn tensor has a random stream of its own.
#include "losses/frame/drawn.h"

namespace coss {

Tensor DrawnInputs::constant(const Shape& shape) {
  Tensor x(shape, DType::f32, device);
  kernels(device).random_normal(context(device), /*seed=*/0, ++stream_, 0, 1, x);
  return x;
}

Tensor DrawnInputs::directions(int64_t rows, int64_t width) {
  const Tensor x = constant({rows, width});
  Tensor y(x.shape(), DType::f32, device);
  kernels(device).normalize_rows(context(device), kSmallestNorm, x, y);
  return y;
}

Var DrawnInputs::variable(const Tensor& value) {
  places_.push_back(std::make_shared<Grad>());
  return Var(value, places_.back());
}

Tensor DrawnInputs::labels() const { return Tensor::from(ten_classes(n), {n}, device); }

void DrawnInputs::forget_gradients() {
  for (const auto& place : places_) place->value = {};
}

std::vector<int32_t> ten_classes(int64_t images) {
  std::vector<int32_t> classes;
  for (int64_t i = 0; i < images; ++i) classes.push_back(int32_t(i % 10));
  return classes;
}

}  // namespace coss
