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
    EXPECT_LT(normalized_error(got.to_doubles(), goldens().values(key)), kBound) << key;
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
  EXPECT_EQ(names.size(), 11u);
  for (const std::string& name : names) {
    const std::vector<double> o = goldens().values(name + "/options");
    const ConvParams p{int64_t(o[0]), int64_t(o[1]), int64_t(o[2]), int64_t(o[3]), o[4] != 0, o[5] != 0};
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
    else if (name.ends_with("silu"))
      p.activation = Activation::silu;
    else if (name.ends_with("hardswish"))
      p.activation = Activation::hardswish;
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

TEST_P(OpGoldens, Activations) {
  const std::pair<std::string, Activation> kinds[] = {
      {"silu", Activation::silu},       {"hardswish", Activation::hardswish},
      {"sigmoid", Activation::sigmoid}, {"hardsigmoid", Activation::hardsigmoid},
      {"gelu", Activation::gelu},       {"quick_gelu", Activation::quick_gelu}};
  for (const auto& [kind, act] : kinds) {
    const std::string name = "activation/" + kind;
    const Var x = activation_of(name + "/x");
    Tape tape;
    const Var y = activation(act, x);
    expect(y.value, name + "/y");
    backward(tape, y, name + "/dy");
    expect(x.grad->value, name + "/dx");
  }
}

TEST_P(OpGoldens, Channels) {
  {
    const Var x = activation_of("scale_channels/x"), s = activation_of("scale_channels/s");
    Tape tape;
    const Var y = scale_channels(x, s);
    expect(y.value, "scale_channels/y");
    backward(tape, y, "scale_channels/dy");
    expect(x.grad->value, "scale_channels/dx");
    expect(s.grad->value, "scale_channels/ds");
  }
  const Var x = activation_of("shuffle/x");
  Tape tape;
  const Var y = shuffle_channels(concat_channels({slice_channels(x, 0, 6), scale(slice_channels(x, 6, 6), 2)}), 3);
  expect(y.value, "shuffle/y");
  backward(tape, y, "shuffle/dy");
  expect(x.grad->value, "shuffle/dx");
}

TEST_P(OpGoldens, Pooling) {
  const PoolParams p{.window = 3, .stride = 2, .pad = 1};
  for (const std::string name : {"max_pool", "avg_pool", "mean_hw"}) {
    const Var x = activation_of(name + "/x");
    Tape tape;
    const Var y = name == "max_pool" ? max_pool(p, x) : name == "avg_pool" ? avg_pool(p, x) : mean_hw(x);
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

TEST_P(OpGoldens, LayerNorm) {
  const Var x = activation_of("layer_norm/x");
  const Var gamma = parameter("layer_norm/gamma"), beta = parameter("layer_norm/beta");
  Tape tape;
  const Var y = layer_norm(1e-6f, x, gamma, beta);
  expect(y.value, "layer_norm/y");
  backward(tape, y, "layer_norm/dy");
  expect(x.grad->value, "layer_norm/dx");
  expect(gamma.grad->value, "layer_norm/dgamma");
  expect(beta.grad->value, "layer_norm/dbeta");
}

TEST_P(OpGoldens, Attention) {
  const std::vector<std::string> names = cases("attention", "options");
  EXPECT_EQ(names.size(), 2u);
  for (const std::string& name : names) {
    const std::vector<double> o = goldens().values(name + "/options");
    const Var qkv = activation_of(name + "/qkv");
    Tape tape;
    const Var y = attention({.heads = int64_t(o[0]), .queries = int64_t(o[1])}, qkv);
    expect(y.value, name + "/y");
    backward(tape, y, name + "/dy");
    expect(qkv.grad->value, name + "/dqkv");
  }
}

TEST_P(OpGoldens, PatchEmbeddingAndMeanToken) {
  const Var x = activation_of("embedding/x"), w = parameter("embedding/w"), b = parameter("embedding/b");
  const Var first = parameter("embedding/first"), position = parameter("embedding/position");
  Tape tape;
  const Var y = join_tokens(first, linear(patches(4, x), w, b), position), mean = mean_tokens(1, 6, y);
  expect(y.value, "embedding/y");
  expect(mean.value, "embedding/mean");
  const Tensor dy = tensor("embedding/dy"), dmean = tensor("embedding/dmean");
  const Var loss = make_output(make_tensor({0}, {1}, DType::f32, GetParam()), {&y, &mean});
  tape.record(loss, [&](const Tensor&) {
    accumulate(y, dy);
    accumulate(mean, dmean);
  });
  tape.backward(loss);
  for (const auto& [v, key] : {std::pair(&x, "dx"), std::pair(&w, "dw"), std::pair(&b, "db"),
                               std::pair(&first, "dfirst"), std::pair(&position, "dposition")})
    expect(v->grad->value, std::string("embedding/") + key);
}

TEST_P(OpGoldens, NormalizeRows) {
  const Var x = activation_of("normalize_rows/x");
  Tape tape;
  const Var y = normalize_rows(1e-12f, x);
  expect(y.value, "normalize_rows/y");
  backward(tape, y, "normalize_rows/dy");
  expect(x.grad->value, "normalize_rows/dx");
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
