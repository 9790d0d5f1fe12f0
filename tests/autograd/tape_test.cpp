// The tape: what it records, when it frees, and what it refuses.
#include <gtest/gtest.h>

#include "autograd/ops.h"
#include "tests/support/support.h"

namespace coss::test {

namespace {

Var leaf(const std::vector<float>& values) {
  return Var(Tensor::from(values, {int64_t(values.size())}, Device::cpu), std::make_shared<Grad>());
}

std::vector<double> gradient_of(const Var& x) { return x.grad->value.to_doubles(); }

// A leaf of shape (1,1) is a scalar that linear can multiply.
Var cell(float value) {
  return Var(Tensor::from(std::vector<float>{value}, {1, 1}, Device::cpu), std::make_shared<Grad>());
}

}  // namespace

TEST(Tape, SeedScalesTheGradient) {
  const Var x = leaf({2});
  Tape tape;
  tape.backward(scale(x, 3), 8);
  EXPECT_EQ(gradient_of(x), std::vector<double>{24});
}

TEST(Tape, SeedMayLiveOnTheDevice) {
  const Var x = leaf({2});
  Tape tape;
  tape.backward(scale(x, 3), Tensor::from(std::vector<float>{0.5f}, {1}, Device::cpu));
  EXPECT_EQ(gradient_of(x), std::vector<double>{1.5});
}

// The CPU does not compute in f16, but it converts.
TEST(Tape, WideningRoundsOnlyTheGradient) {
  for (const float factor : {2.0f, 1e-6f}) {  // 131072 is more than f16 holds, 1e-6 less than its normal numbers
    const Var x(Tensor::from(std::vector<f16>{f16(0.5f)}, {1}, Device::cpu), std::make_shared<Grad>());
    Tape tape;
    const Var y = widened(x);
    EXPECT_EQ(y.value.to_vector<float>(), std::vector<float>{0.5f});
    tape.backward(scale(y, factor), 65536);
    EXPECT_EQ(x.grad->value.to_doubles(), std::vector<double>{double(float(f16(factor * 65536)))});
  }
  EXPECT_EQ(widened(leaf({1})).value.dtype(), DType::f32);
}

TEST(Tape, NothingIsRecordedWithoutOneOrUnderNoGrad) {
  const Var x = leaf({1});
  EXPECT_EQ(scale(x, 2).grad, nullptr);
  Tape tape;
  {
    const NoGrad none;
    EXPECT_EQ(Tape::active(), nullptr);
    EXPECT_EQ(scale(x, 2).grad, nullptr);
  }
  EXPECT_EQ(Tape::active(), &tape);
  EXPECT_NE(scale(x, 2).grad, nullptr);
}

TEST(Tape, AConstantGetsNoGradient) {
  const Var constant(Tensor::from(std::vector<float>{5}, {1}, Device::cpu)), x = leaf({1});
  Tape tape;
  EXPECT_EQ(scale(constant, 2).grad, nullptr);
  tape.backward(add(x, constant));
  EXPECT_EQ(gradient_of(x), std::vector<double>{1});
  EXPECT_EQ(constant.grad, nullptr);
}

TEST(Tape, ATapeWithinATapeRecordsForItself) {
  const Var x = leaf({1});
  Tape outer;
  const Var y = scale(x, 2);
  const Var z = leaf({1});
  {
    Tape inner;
    EXPECT_EQ(Tape::active(), &inner);
    inner.backward(scale(z, 5));
  }
  EXPECT_EQ(Tape::active(), &outer);
  EXPECT_EQ(gradient_of(z), std::vector<double>{5});
  EXPECT_TRUE(x.grad->value.empty());
  outer.backward(scale(y, 3));
  EXPECT_EQ(gradient_of(x), std::vector<double>{6});
}

TEST(Tape, GradientsOfParametersAddUpOverSteps) {
  Var w = cell(3);
  w.grad->is_param = true;
  w.grad->value = Tensor::from(std::vector<float>{100}, {1, 1}, Device::cpu);
  for (int i = 0; i < 2; ++i) {
    Tape tape;
    const Var y = linear(cell(2), w, Var());
    tape.backward(Var(y.value.reshape({1}), y.grad));
  }
  EXPECT_EQ(gradient_of(w), std::vector<double>{104});
}

TEST(Tape, ParameterGradientsLandInTheFlatBuffer) {
  Tensor flat = Tensor::from(std::vector<float>{0, 7, 0}, {3}, Device::cpu);
  Var w = cell(3);
  w.grad->is_param = true;
  w.grad->value = flat.view(1, {1, 1});
  Tape tape;
  const Var y = linear(cell(2), w, Var());
  tape.backward(Var(y.value.reshape({1}), y.grad));
  EXPECT_EQ(flat.to_doubles(), (std::vector<double>{0, 9, 0}));
}

TEST(Tape, ActivationsAreFreedDuringBackward) {
  // Ten activations of 1 MiB are alive after forward; while backward reaches the first operation, nearly all are gone.
  constexpr int64_t kElements = 1 << 18;
  Pool& pool = context(Device::cpu).pool();
  const Var x(random_tensor({kElements}, DType::f32, Device::cpu, 1), std::make_shared<Grad>());
  const size_t before = pool.bytes_in_use();
  size_t at_first = 0;
  Tape tape;
  Var probe = make_output(x.value, {&x});
  tape.record(probe, [&at_first, &pool](const Tensor&) { at_first = pool.bytes_in_use(); });
  Var h = relu(probe);
  probe = Var();
  for (int i = 0; i < 9; ++i) h = relu(h);
  const Var loss = make_output(Tensor::from(std::vector<float>{1}, {1}, Device::cpu), {&h});
  tape.record(loss, [h](const Tensor&) {
    Tensor dy(h.shape(), DType::f32, Device::cpu);
    kernels(dy).fill(context(Device::cpu), 1, dy);
    accumulate(h, dy);
  });
  h = Var();
  const size_t after_forward = pool.bytes_in_use() - before;
  EXPECT_GE(after_forward, 10u << 20);
  tape.backward(loss);
  EXPECT_LE(at_first - before, 2u << 20);  // the gradient itself, and nothing else of that size
  EXPECT_LE(pool.bytes_in_use() - before, 1u << 16);
}

TEST(Tape, RepeatedStepsDoNotGrowThePool) {
  const Var x = Var(random_tensor({64, 32}, DType::f32, Device::cpu, 1), std::make_shared<Grad>());
  Var w = Var(random_tensor({16, 32}, DType::f32, Device::cpu, 2), std::make_shared<Grad>());
  const Tensor labels = Tensor::from(std::vector<int32_t>(64, 3), {64}, Device::cpu);
  auto step = [&] {
    Tape tape;
    tape.backward(cross_entropy(relu(linear(x, w, Var())), labels));
    x.grad->value = w.grad->value = Tensor();
  };
  step();
  step();
  const int64_t grown = context(Device::cpu).pool().grown();
  for (int i = 0; i < 5; ++i) step();
  EXPECT_EQ(context(Device::cpu).pool().grown(), grown);
}

TEST(Tape, RefusesWhatIsNotARecordedScalar) {
  const Var x = leaf({1, 2});
  Tape tape;
  EXPECT_THROW(tape.backward(scale(x, 2)), Error);
  EXPECT_THROW(tape.backward(Var(Tensor::from(std::vector<float>{1}, {1}, Device::cpu))), Error);
}

// --- wrong shapes are refused in words ---------------------------------------------------------------------------

namespace {
template <class Call>
void expect_error(const char* part, Call call) {
  try {
    call();
    ADD_FAILURE() << "no error that says '" << part << "'";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

Var zeros(Shape shape, DType dtype = DType::f32) { return Var(random_tensor(shape, dtype, Device::cpu, 1)); }
}  // namespace

TEST(OpErrors, NameTheOperationAndTheNumbers) {
  expect_error("[conv2d] input has 3 channels, weight expects 4", [] {
    conv2d({}, zeros({1, 5, 5, 3}), zeros({8, 3, 3, 4}));
  });
  expect_error("[conv2d]", [] { conv2d({}, zeros({1, 2, 2, 4}), zeros({8, 3, 3, 4})); });
  expect_error("[conv2d]", [] { conv2d({}, zeros({1, 5, 5, 4}, DType::bf16), zeros({8, 3, 3, 4})); });
  expect_error("[add]", [] { add(zeros({2}), zeros({3})); });
  expect_error("[linear] input has 3 columns, weight expects 4", [] { linear(zeros({2, 3}), zeros({5, 4}), Var()); });
  expect_error("[linear]", [] { linear(zeros({2, 4}), zeros({5, 4}), zeros({4})); });
  expect_error("[max_pool]", [] { max_pool({7, 1, 0}, zeros({1, 4, 4, 2})); });
  expect_error("[shortcut_a]", [] { shortcut_a(2, 3, zeros({1, 4, 4, 8})); });
  expect_error("[dropout]", [] { dropout({.rate = 1.5f}, Tensor(), zeros({4})); });
  expect_error("[cross_entropy]", [] {
    cross_entropy(zeros({4, 3}), Tensor::from(std::vector<int32_t>{1, 2}, {2}, Device::cpu));
  });
}

}  // namespace coss::test
