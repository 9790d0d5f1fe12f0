// Two steps without arithmetic, of different batches.
#include "models/training_memory.h"

#include "autograd/ops.h"

namespace coss {
namespace {

int64_t peak_of_step(Network& network, const ModelInfo& model, DType dtype, int64_t images) {
  PoolScope::Memory memory(Device::dry);  // a fresh pool: no block is larger than what is asked for
  const PoolScope scope(context(Device::dry), memory);
  const Tensor pixels({images, model.image_size, model.image_size, 3}, dtype, Device::dry);
  const Tensor labels({images}, DType::i32, Device::dry), step({1}, DType::i64, Device::dry);
  Tape tape;
  Var out = network.features(Var(pixels), Mode::train, step);
  if (network.classes > 0) out = network.logits(out, Mode::train, step);
  tape.backward(cross_entropy(out, labels));
  return int64_t(context(Device::dry).pool().bytes_peak());
}

}  // namespace

int64_t training_memory(const ModelInfo& model, DType dtype) {
  constexpr int64_t kFew = 2, kMore = 4;
  Params params;
  const auto network = model.make(Scope(params), model.classes);
  params.allocate(Device::dry, dtype, /*seed=*/0);
  const int64_t few = peak_of_step(*network, model, dtype, kFew), more = peak_of_step(*network, model, dtype, kMore);
  return (more - few) / (kMore - kFew);
}

}  // namespace coss
