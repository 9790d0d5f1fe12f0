// Multiplies each channel by a factor and adds a summand, as a depthwise 1x1 convolution, like a frozen norm.
#include "models/renormalized.h"

#include <utility>

#include "autograd/ops.h"

namespace coss {
namespace {

constexpr int64_t kChannels = 3;

Tensor uploaded(const std::vector<float>& values, Shape shape, DType dtype, Device device) {
  const Tensor single = Tensor::from(values, shape, device);
  if (dtype == DType::f32) return single;
  Tensor tensor(shape, dtype, device);
  kernels(device).cast(context(device), single, tensor);
  return tensor;
}

}  // namespace

Renormalized::Renormalized(std::unique_ptr<Network> inner, const Normalization& given, const Normalization& wanted)
    : inner_(std::move(inner)), given_(given), wanted_(wanted) {
  feature_width = inner_->feature_width;
  classes = inner_->classes;
}

Var Renormalized::features(const Var& images, Mode mode, const Tensor& step, std::vector<Var>* stages) {
  COSS_ASSERT(!images.grad);
  if (scale_.empty()) {
    // Given is (p - mean) / stddev of a pixel p with one mean and stddev; wanted is the same with the others.
    std::vector<float> factors, summands;
    for (size_t c = 0; c < size_t(kChannels); ++c) {
      factors.push_back(given_.stddev[c] / wanted_.stddev[c]);
      summands.push_back((given_.mean[c] - wanted_.mean[c]) / wanted_.stddev[c]);
    }
    const DType dtype = images.value.dtype();
    const Device device = images.value.device();
    scale_ = uploaded(factors, {1, 1, kChannels}, dtype, device);
    shift_ = uploaded(summands, {kChannels}, accumulator_of(dtype), device);
  }
  const ConvParams pointwise{.depthwise = true};
  const Tensor mapped = conv2d_bias_act(pointwise, Activation::none, images.value, scale_, shift_, {});
  return inner_->features(Var(mapped), mode, step, stages);
}

Var Renormalized::logits(const Var& features, Mode mode, const Tensor& step) {
  return inner_->logits(features, mode, step);
}

}  // namespace coss
