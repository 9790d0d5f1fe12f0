// The operations on matrices: gradients against differences in double, results and gradients against PyTorch's from
// tests/goldens/matrix.safetensors.
#include <gtest/gtest.h>

#include "autograd/ops.h"
#include "tests/support/golden_file.h"
#include "tests/support/gradient_check.h"
#include "tests/support/support.h"

namespace coss::test {
namespace {

struct Case {
  const char* name;
  std::vector<Shape> inputs;
  std::function<Var(const std::vector<Var>&)> run;
};

const std::vector<Case>& cases() {
  static const std::vector<Case> list{
      {"product", {{7, 5}, {11, 5}}, [](const auto& v) { return product(v[0], v[1]); }},
      {"gram", {{9, 5}}, [](const auto& v) { return gram(v[0]); }},
      {"softmax", {{6, 19}}, [](const auto& v) { return softmax(0.2f, v[0]); }},
      {"center_rows", {{5, 13}}, [](const auto& v) { return center_rows(v[0]); }},
      {"transpose", {{18, 7}}, [](const auto& v) { return transpose(v[0]); }},
      {"stack_rows", {{3, 5}, {4, 5}}, [](const auto& v) { return stack_rows(v[0], v[1]); }},
      {"rows_of", {{7, 3}}, [](const auto& v) { return rows_of(v[0], 2, 3); }},
      {"reshape",
       {{6, 6}},
       [](const auto& v) {
         return reshape(v[0], {4, 9});
       }},
  };
  return list;
}

TEST(Matrices, GradientsInDouble) {
  for (const Case& test : cases()) {
    std::vector<Tensor> inputs;
    for (const Shape& shape : test.inputs)
      inputs.push_back(random_tensor(shape, DType::f64, Device::reference, inputs.size() + 1));
    EXPECT_LT(gradient_error(test.run, inputs), 1e-9) << test.name;
  }
  // The same matrix is both operands, and a part of it is used besides the whole.
  const Tensor x = random_tensor({4, 3}, DType::f64, Device::reference, 1);
  EXPECT_LT(gradient_error([](const auto& v) { return product(v[0], v[0]); }, {x}), 1e-9);
  EXPECT_LT(gradient_error([](const auto& v) { return add(rows_of(stack_rows(v[0], v[0]), 2, 4), v[0]); }, {x}), 1e-9);
  EXPECT_LT(gradient_error([](const auto& v) { return gram(reshape(transpose(v[0]), {4, 3})); }, {x}), 1e-9);
}

TEST(Matrices, Goldens) {
  const GoldenFile goldens("matrix.safetensors");
  for (const Device device : devices_under_test()) {
    for (const Case& test : cases()) {
      const std::string name = test.name;
      std::vector<Var> inputs;
      for (const Shape& shape : test.inputs) {
        const std::string key = name + "/" + std::to_string(inputs.size());
        inputs.emplace_back(make_tensor(golden_noise(key, shape.numel()), shape, DType::f32, device),
                            std::make_shared<Grad>());
      }
      Tape tape;
      const Var y = test.run(inputs);
      EXPECT_LT(normalized_error(y.value.to_doubles(), goldens.values(name + "/y")), 1e-11) << name;
      const Tensor dy = make_tensor(golden_noise(name + "/dy", y.value.numel()), y.shape(), DType::f32, device);
      const Var loss = make_output(make_tensor({0}, {1}, DType::f32, device), {&y});
      tape.record(loss, [&](const Tensor&) { accumulate(y, dy); });
      tape.backward(loss);
      for (size_t i = 0; i < inputs.size(); ++i)
        EXPECT_LT(normalized_error(inputs[i].grad->value.to_doubles(), goldens.values(name + "/d" + std::to_string(i))),
                  1e-11)
            << name;
    }
  }
}

TEST(Matrices, AccumulatedWidensAndItsGradientNarrows) {
  for (const Device device : devices_under_test()) {
    const Var x(random_tensor({3, 4}, DType::bf16, device, 1), std::make_shared<Grad>());
    Tape tape;
    const Var y = accumulated(x);
    EXPECT_EQ(y.value.dtype(), DType::f32);
    EXPECT_EQ(y.value.to_doubles(), x.value.to_doubles());
    const Var same = accumulated(y);
    EXPECT_EQ(same.value.raw(), y.value.raw());
    const Var loss = make_output(make_tensor({0}, {1}, DType::f32, device), {&y});
    tape.record(loss, [&](const Tensor&) { accumulate(y, y.value); });
    tape.backward(loss);
    EXPECT_EQ(x.grad->value.dtype(), DType::bf16);
    EXPECT_EQ(x.grad->value.to_doubles(), x.value.to_doubles());
  }
}

TEST(Matrices, RefuseWhatDoesNotFit) {
  const auto matrix = [](Shape shape) { return Var(random_tensor(shape, DType::f64, Device::reference, 1)); };
  EXPECT_THROW(product(matrix({3, 4}), matrix({3, 5})), Error);
  EXPECT_THROW(gram(matrix({3})), Error);
  EXPECT_THROW(stack_rows(matrix({3, 4}), matrix({3, 5})), Error);
  EXPECT_THROW(rows_of(matrix({3, 4}), 2, 2), Error);
  EXPECT_THROW(reshape(matrix({3, 4}), {5, 2}), Error);
}

}  // namespace
}  // namespace coss::test
