// Runs networks on the dry device: forward for one image, and training steps with two sizes of batch.
#include "models/cost.h"

#include "autograd/ops.h"

namespace coss {
namespace {

// The published network on the dry device.
class DryNetwork {
 public:
  DryNetwork(const ModelInfo& model, DType dtype)
      : image_size_(model.image_size), dtype_(dtype), network_(model.make(Scope(params_), model.classes)) {
    params_.allocate(Device::dry, dtype, /*seed=*/0);
  }

  Tensor pixels(int64_t images) const { return Tensor({images, image_size_, image_size_, 3}, dtype_, Device::dry); }

  // Train mode, because eval mode computes some norms as convolutions. Without a classifier the features are returned.
  Var logits(const Tensor& pixels) {
    const Tensor step({1}, DType::i64, Device::dry);
    const Var features = network_->features(Var(pixels), Mode::train, step);
    return network_->classes > 0 ? network_->logits(features, Mode::train, step) : features;
  }

  int64_t parameters() const { return params_.count(); }

 private:
  int64_t image_size_;
  DType dtype_;
  Params params_;
  std::unique_ptr<Network> network_;
};

int64_t peak_of_step(DryNetwork& network, int64_t images) {
  PoolScope::Memory memory(Device::dry);  // a fresh pool: no block is larger than what is asked for
  const PoolScope scope(context(Device::dry), memory);
  const Tensor pixels = network.pixels(images);  // a step keeps its images until it ends
  const Tensor labels({images}, DType::i32, Device::dry);
  Tape tape;
  tape.backward(cross_entropy(network.logits(pixels), labels));
  return int64_t(context(Device::dry).pool().bytes_peak());
}

}  // namespace

ModelCost cost_of(const ModelInfo& model) {
  DryNetwork network(model, DType::f32);
  const NoGrad forward_only;
  const int64_t before = dry_macs();
  network.logits(network.pixels(1));
  return {network.parameters(), dry_macs() - before};
}

int64_t training_memory(const ModelInfo& model, DType dtype) {
  constexpr int64_t kFew = 2, kMore = 4;
  DryNetwork network(model, dtype);
  const int64_t few = peak_of_step(network, kFew), more = peak_of_step(network, kMore);
  return (more - few) / (kMore - kFew);
}

}  // namespace coss
