// Convolutions against the reference: every layer kind of the models, and shapes that do not divide well.
#include "tests/engine/kernel_test.h"

namespace coss::test {

namespace {

struct ConvCase {
  const char* name;
  Shape x;       // (N,H,W,C)
  int64_t k, r;  // output channels, window
  ConvParams params;

  Shape w() const { return params.depthwise ? Shape{r, r, x[3]} : Shape{k, r, r, x[3] / params.groups}; }
  Shape y() const { return {x[0], params.out_size(x[1], r), params.out_size(x[2], r), k}; }
};

void PrintTo(const ConvCase& test, std::ostream* stream) { *stream << test.name; }

ConvParams conv(int64_t stride, int64_t pad, int64_t dilation = 1, int64_t groups = 1) {
  return {.stride = stride, .pad = pad, .dilation = dilation, .groups = groups, .depthwise = false};
}
ConvParams depthwise(int64_t stride, int64_t pad, int64_t dilation = 1) {
  return {.stride = stride, .pad = pad, .dilation = dilation, .groups = 1, .depthwise = true};
}

const ConvCase kCases[] = {
    {"k1", {2, 7, 7, 32}, 48, 1, conv(1, 0)},
    {"k1_stride2", {2, 8, 8, 32}, 64, 1, conv(2, 0)},
    {"k1_stride2_odd_size", {2, 7, 9, 16}, 16, 1, conv(2, 0)},
    {"k1_odd_channels", {3, 5, 5, 13}, 7, 1, conv(1, 0)},
    {"k1_one_pixel", {4, 1, 1, 32}, 16, 1, conv(1, 0)},
    {"k3", {2, 9, 9, 16}, 32, 3, conv(1, 1)},
    {"k3_no_pad", {2, 9, 9, 16}, 16, 3, conv(1, 0)},
    {"k3_stride2", {2, 8, 8, 32}, 32, 3, conv(2, 1)},
    {"k3_stride2_odd_size", {1, 9, 7, 16}, 32, 3, conv(2, 1)},
    {"k3_three_channels", {2, 8, 8, 3}, 16, 3, conv(1, 1)},
    {"k3_odd_channels", {1, 6, 6, 5}, 11, 3, conv(1, 1)},
    {"k3_dilation2", {1, 9, 9, 16}, 16, 3, conv(1, 2, 2)},
    {"k7_stem", {2, 23, 23, 3}, 32, 7, conv(2, 3)},
    {"grouped", {2, 6, 6, 32}, 32, 3, conv(1, 1, 1, 4)},
    {"grouped_k1_odd", {2, 5, 5, 12}, 24, 1, conv(1, 0, 1, 3)},
    {"grouped_stride2", {1, 8, 8, 24}, 48, 3, conv(2, 1, 1, 3)},
    {"depthwise_k3", {2, 9, 9, 32}, 32, 3, depthwise(1, 1)},
    {"depthwise_k3_stride2", {2, 8, 8, 48}, 48, 3, depthwise(2, 1)},
    {"depthwise_k5", {1, 9, 9, 24}, 24, 5, depthwise(1, 2)},
    {"depthwise_k5_stride2", {1, 11, 10, 40}, 40, 5, depthwise(2, 2)},
    {"depthwise_odd_channels", {2, 7, 7, 13}, 13, 3, depthwise(1, 1)},
    {"depthwise_dilation2", {1, 9, 9, 16}, 16, 3, depthwise(1, 2, 2)},
};

}  // namespace

using ConvParameter = std::tuple<Backend, ConvCase>;

class Conv : public testing::TestWithParam<ConvParameter>, protected KernelTestBase {
 protected:
  Conv() : KernelTestBase(std::get<0>(GetParam())), case_(std::get<1>(GetParam())) {
    x_ = normal(case_.x, compute(), 1);
    w_ = normal(case_.w(), compute(), 2, 0.2);
    dy_ = normal(case_.y(), compute(), 3);
  }

  ConvCase case_;
  Twin x_, w_, dy_;
};

INSTANTIATE_TEST_SUITE_P(Backends, Conv, testing::Combine(testing::ValuesIn(backends()), testing::ValuesIn(kCases)),
                         [](const auto& test) {
                           return backend_name(std::get<0>(test.param)) + "_" + std::get<1>(test.param).name;
                         });

TEST_P(Conv, Forward) {
  Twin y = output(case_.y(), compute());
  both([&](const Kernels& k, Context& c, int side) { k.conv2d_forward(c, case_.params, x_[side], w_[side], y[side]); });
  expect_close(y);
}

TEST_P(Conv, ForwardReadsNewValuesOfAReusedWeight) {
  Twin y = output(case_.y(), compute());
  for (int i = 0; i < 2; ++i) {
    both([&](const Kernels& k, Context& c, int side) {
      k.conv2d_forward(c, case_.params, x_[side], w_[side], y[side]);
      k.axpy(c, 1, w_[side], w_[side]);
    });
    expect_close(y);
  }
}

TEST_P(Conv, BiasResidualActivation) {
  for (Activation activation : {Activation::none, Activation::relu, Activation::relu6}) {
    for (bool with_residual : {false, true}) {
      SCOPED_TRACE(testing::Message() << "activation " << int(activation) << " residual " << with_residual);
      Twin bias = normal({case_.k}, accumulator(), 4, 2), y = output(case_.y(), compute());
      Twin residual = with_residual ? normal(case_.y(), compute(), 5, 3) : Twin();
      both([&](const Kernels& k, Context& c, int side) {
        k.conv2d_bias_act(c, case_.params, activation, x_[side], w_[side], bias[side], residual[side], y[side]);
      });
      // A backend may round the convolution before it adds the residual: the first rounding is relative to a larger
      // value.
      expect_close(y, with_residual && compute() == DType::bf16 ? 4 : 1);
    }
  }
}

TEST_P(Conv, InputGradient) {
  Twin dx = output(case_.x, compute());
  both([&](const Kernels& k, Context& c, int side) { k.conv2d_dgrad(c, case_.params, w_[side], dy_[side], dx[side]); });
  expect_close(dx);
}

TEST_P(Conv, WeightGradient) {
  for (float beta : {0.0f, 1.0f}) {
    Twin dw = beta == 0 ? output(case_.w(), accumulator()) : normal(case_.w(), accumulator(), 6, 10);
    both([&](const Kernels& k, Context& c, int side) {
      k.conv2d_wgrad(c, case_.params, x_[side], dy_[side], beta, dw[side]);
    });
    expect_close(dw);
  }
}

}  // namespace coss::test
