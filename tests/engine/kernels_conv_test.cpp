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

// TensorFlow's padding: an odd zero is at the end.
ConvParams same(int64_t stride, bool depthwise, int64_t groups = 1, int64_t dilation = 1) {
  return {.stride = stride, .dilation = dilation, .groups = groups, .depthwise = depthwise, .same = true};
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
    {"depthwise_k3_narrow", {3, 11, 3, 24}, 24, 3, depthwise(1, 1)},
    {"depthwise_k3_no_pad", {2, 6, 13, 328}, 328, 3, depthwise(1, 0)},
    {"depthwise_k3_pad2", {2, 5, 6, 8}, 8, 3, depthwise(1, 2)},
    {"depthwise_k3_stride2_no_pad", {2, 10, 7, 24}, 24, 3, depthwise(2, 0)},
    {"depthwise_k3_stride2_odd_size", {1, 9, 15, 264}, 264, 3, depthwise(2, 1)},
    {"depthwise_k3_stride3", {2, 11, 10, 16}, 16, 3, depthwise(3, 1)},
    {"depthwise_k5_no_pad", {2, 7, 12, 40}, 40, 5, depthwise(1, 0)},
    {"depthwise_k5_stride2_pad1", {2, 12, 9, 16}, 16, 5, depthwise(2, 1)},
    {"depthwise_k5_dilation2", {1, 11, 12, 12}, 12, 5, depthwise(1, 4, 2)},
    {"depthwise_k5_stride2_odd_channels", {2, 9, 8, 7}, 7, 5, depthwise(2, 2)},
    {"depthwise_k7", {1, 9, 8, 24}, 24, 7, depthwise(1, 3)},
    {"depthwise_k1_stride2", {2, 5, 6, 16}, 16, 1, depthwise(2, 0)},
    {"depthwise_one_pixel", {3, 1, 1, 16}, 16, 3, depthwise(1, 1)},
    {"depthwise_many_rows", {3, 33, 45, 136}, 136, 3, depthwise(1, 1)},
    {"same_k1_stride2", {2, 7, 8, 16}, 16, 1, same(2, false)},
    {"same_k3", {2, 9, 8, 16}, 32, 3, same(1, false)},
    {"same_k3_stride2", {2, 8, 9, 16}, 32, 3, same(2, false)},
    {"same_k3_stride2_stem", {2, 24, 23, 3}, 32, 3, same(2, false)},
    {"same_k2", {1, 6, 7, 16}, 16, 2, same(1, false)},
    {"same_k3_stride4", {1, 9, 10, 5}, 7, 3, same(4, false)},
    {"same_k3_dilation2", {1, 9, 8, 16}, 16, 3, same(1, false, 1, 2)},
    {"same_grouped_stride2", {2, 8, 7, 24}, 48, 3, same(2, false, 3)},
    {"same_depthwise_k3", {2, 7, 6, 24}, 24, 3, same(1, true)},
    {"same_depthwise_k3_stride2", {2, 14, 15, 40}, 40, 3, same(2, true)},
    {"same_depthwise_k5_stride2", {2, 12, 13, 24}, 24, 5, same(2, true)},
    {"same_depthwise_k5_small", {2, 2, 3, 13}, 13, 5, same(2, true)},
    {"depthwise_many_rows_stride2", {4, 70, 45, 136}, 136, 3, depthwise(2, 1)},
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
  for (Activation activation :
       {Activation::none, Activation::relu, Activation::relu6, Activation::silu, Activation::hardswish}) {
    for (bool with_residual : {false, true}) {
      SCOPED_TRACE(testing::Message() << "activation " << int(activation) << " residual " << with_residual);
      Twin bias = normal({case_.k}, accumulator(), 4, 2), y = output(case_.y(), compute());
      Twin residual = with_residual ? normal(case_.y(), compute(), 5, 3) : Twin();
      both([&](const Kernels& k, Context& c, int side) {
        k.conv2d_bias_act(c, case_.params, activation, x_[side], w_[side], bias[side], residual[side], y[side]);
      });
      // A backend that computes in 16 bits may round the bias too, as it does the folded weights, or the convolution
      // before it adds the residual: that rounding is relative to a larger value.
      expect_close(y, compute() == DType::f32 ? 1 : with_residual ? 4 : 2);
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

// Views that begin between the boundaries of vectors, which is hard for kernels that read several values at once.
COSS_KERNEL_SUITE(DepthwiseViews);

TEST_P(DepthwiseViews, BeginAnywhere) {
  const Shape shape{2, 7, 6, 16};
  const Shape window{3, 3, 16};
  for (const int64_t stride : {1, 2}) {
    const ConvParams p = depthwise(stride, 1);
    const Shape out{2, p.out_size(7, 3), p.out_size(6, 3), 16};
    for (const int shifted : {0, 1, 2, 3}) {
      SCOPED_TRACE(testing::Message() << "stride " << stride << ", view " << shifted);
      auto view_of = [&](Twin flat, int number, Shape of) {
        const int64_t offset = number == shifted ? 1 : 0;
        return Twin{{flat[0].view(offset, of), flat[1].view(offset, of)}};
      };
      Twin x = view_of(normal({shape.numel() + 1}, compute(), 1), 0, shape);
      Twin w = view_of(normal({window.numel() + 1}, compute(), 2), 1, window);
      Twin dy = view_of(normal({out.numel() + 1}, compute(), 3), 2, out);
      Twin y = view_of(output({out.numel() + 1}, compute()), 2, out);
      Twin dx = view_of(output({shape.numel() + 1}, compute()), 0, shape);
      Twin dw = view_of(normal({window.numel() + 1}, accumulator(), 4), 1, window);
      Twin bias = view_of(normal({17}, accumulator(), 5), 3, {16});
      both([&](const Kernels& k, Context& c, int side) {
        k.conv2d_bias_act(c, p, Activation::relu, x[side], w[side], bias[side], Tensor(), y[side]);
        k.conv2d_dgrad(c, p, w[side], dy[side], dx[side]);
        k.conv2d_wgrad(c, p, x[side], dy[side], 1, dw[side]);
      });
      expect_close(y);
      expect_close(dx);
      expect_close(dw);
    }
  }
}

TEST_P(DepthwiseViews, WindowsNeedNotBeSquare) {
  const Shape shape{2, 8, 9, 16}, window{3, 5, 16};
  for (const int64_t stride : {1, 2}) {
    const ConvParams p = depthwise(stride, 1);
    const Shape out{2, p.out_size(8, 3), p.out_size(9, 5), 16};
    Twin x = normal(shape, compute(), 1), w = normal(window, compute(), 2), dy = normal(out, compute(), 3);
    Twin y = output(out, compute()), dx = output(shape, compute()), dw = output(window, accumulator());
    both([&](const Kernels& k, Context& c, int side) {
      k.conv2d_forward(c, p, x[side], w[side], y[side]);
      k.conv2d_dgrad(c, p, w[side], dy[side], dx[side]);
      k.conv2d_wgrad(c, p, x[side], dy[side], 0, dw[side]);
    });
    expect_close(y);
    expect_close(dx);
    expect_close(dw);
  }
}

}  // namespace coss::test
