// Every operation against PyTorch's, forward and backward, from tests/goldens/ops.safetensors.
#include <gtest/gtest.h>

#include "autograd/ops.h"
#include "tests/support/golden_file.h"
#include "tests/support/support.h"

namespace coss::test {

namespace {

// Float32 rounding in sums of up to a few hundred products.
constexpr double kBound = 1e-11;

const GoldenFile& goldens() {
  static const GoldenFile file("ops.safetensors");
  return file;
}

class OpGoldens : public testing::TestWithParam<Device> {
 protected:
  Tensor tensor(const std::string& key) const { return goldens().tensor(key, DType::f32, GetParam()); }
  Var activation_of(const std::string& key) const { return Var(tensor(key), std::make_shared<Grad>()); }
  // A parameter owns a zeroed buffer that kernels add to.
  Var parameter(const std::string& key) const {
    Var var = activation_of(key);
    var.grad->is_param = true;
    var.grad->value =
        make_tensor(std::vector<double>(size_t(var.value.numel()), 0.0), var.shape(), DType::f32, GetParam());
    return var;
  }
  static void expect(const Tensor& got, const std::string& key) {
    EXPECT_LT(normalised_error(got.to_doubles(), goldens().values(key)), kBound) << key;
  }
  // Runs backward from dy = golden `key`: the loss is an operation whose gradient is dy.
  void backward(Tape& tape, const Var& y, const std::string& key) const {
    const Tensor dy = tensor(key);
    const Var loss = make_output(make_tensor({0}, {1}, DType::f32, GetParam()), {&y});
    tape.record(loss, [y, dy](const Tensor&) { accumulate(y, dy); });
    tape.backward(loss);
  }
};

// "3x3_stride2" of "conv/3x3_stride2/options".
std::vector<std::string> cases(const std::string& group, const std::string& member) {
  std::vector<std::string> names;
  for (const std::string& key : goldens().keys(group + "/"))
    if (key.ends_with("/" + member)) names.push_back(group + "/" + key.substr(0, key.size() - member.size() - 1));
  return names;
}

}  // namespace

TEST_P(OpGoldens, Convolution) {
  const std::vector<std::string> names = cases("conv", "options");
  EXPECT_EQ(names.size(), 9u);
  for (const std::string& name : names) {
    const std::vector<double> o = goldens().values(name + "/options");
    const ConvParams p{int64_t(o[0]), int64_t(o[1]), int64_t(o[2]), int64_t(o[3]), o[4] != 0};
    const Var x = activation_of(name + "/x"), w = parameter(name + "/w");
    Tape tape;
    const Var y = conv2d(p, x, w);
    expect(y.value, name + "/y");
    backward(tape, y, name + "/dy");
    expect(x.grad->value, name + "/dx");
    expect(w.grad->value, name + "/dw");
  }
}

TEST_P(OpGoldens, NormAddActivation) {
  for (const std::string& name : cases("norm", "x")) {
    NormParams p;
    if (name.find("relu6") != std::string::npos)
      p.activation = Activation::relu6;
    else if (name.find("relu") != std::string::npos)
      p.activation = Activation::relu;
    const bool with_residual = name.ends_with("_residual");
    const Var x = activation_of(name + "/x"), gamma = parameter(name + "/gamma"), beta = parameter(name + "/beta");
    const Var residual = with_residual ? activation_of(name + "/residual") : Var();
    Tensor mean = tensor(name + "/running_mean"), var = tensor(name + "/running_var");
    Tape tape;
    const Var y = norm_act(p, x, gamma, beta, residual, mean, var);
    expect(y.value, name + "/y");
    expect(mean, name + "/new_mean");
    expect(var, name + "/new_var");
    backward(tape, y, name + "/dy");
    expect(x.grad->value, name + "/dx");
    expect(gamma.grad->value, name + "/dgamma");
    expect(beta.grad->value, name + "/dbeta");
    if (with_residual) expect(residual.grad->value, name + "/dresidual");
  }
}

TEST_P(OpGoldens, Pooling) {
  for (const std::string name : {"max_pool", "mean_hw"}) {
    const Var x = activation_of(name + "/x");
    Tape tape;
    const Var y = name == "max_pool" ? max_pool({.window = 3, .stride = 2, .pad = 1}, x) : mean_hw(x);
    expect(y.value, name + "/y");
    backward(tape, y, name + "/dy");
    expect(x.grad->value, name + "/dx");
  }
}

TEST_P(OpGoldens, Linear) {
  const Var x = activation_of("linear/x"), w = parameter("linear/w"), b = parameter("linear/b");
  Tape tape;
  const Var y = linear(x, w, b);
  expect(y.value, "linear/y");
  backward(tape, y, "linear/dy");
  expect(x.grad->value, "linear/dx");
  expect(w.grad->value, "linear/dw");
  expect(b.grad->value, "linear/db");
}

TEST_P(OpGoldens, Softmax) {
  const Tensor x = tensor("softmax/x");
  Tensor y(x.shape(), DType::f32, GetParam());
  const float temperature = float(goldens().number("softmax/temperature"));
  kernels(x).softmax(context(GetParam()), temperature, x, y);
  expect(y, "softmax/y");
  kernels(x).log_softmax(context(GetParam()), temperature, x, y);
  expect(y, "softmax/log_y");
}

TEST_P(OpGoldens, CrossEntropySkipsNegativeLabels) {
  const Var logits = activation_of("cross_entropy/logits");
  Tape tape;
  const Var loss = cross_entropy(logits, goldens().tensor("cross_entropy/labels", DType::i32, GetParam()));
  expect(loss.value, "cross_entropy/loss");
  tape.backward(loss);
  expect(logits.grad->value, "cross_entropy/dlogits");
}

TEST_P(OpGoldens, Coss) {
  const std::vector<std::string> names = cases("coss", "options");
  EXPECT_EQ(names.size(), 3u);
  for (const std::string& name : names) {
    const std::vector<double> o = goldens().values(name + "/options");
    const Tensor student = tensor(name + "/student"), teacher = tensor(name + "/teacher");
    Tensor terms({3}, DType::f32, GetParam()), dstudent(student.shape(), DType::f32, GetParam());
    kernels(student).coss_loss(context(GetParam()), {float(o[0]), float(o[1]), float(o[2])}, student, teacher, terms,
                               dstudent);
    expect(terms, name + "/terms");
    expect(dstudent, name + "/dstudent");
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, OpGoldens, testing::ValuesIn(devices_under_test()),
                         [](const auto& device) { return std::string(name_of(device.param)); });

}  // namespace coss::test
