// The dry device and what is measured on it.
#include "models/training_memory.h"

#include <gtest/gtest.h>

#include "autograd/ops.h"

namespace coss {
namespace {

TEST(DryDevice, KnowsShapesAndBytesButNoNumbers) {
  Pool& pool = context(Device::dry).pool();
  const size_t before = pool.bytes_in_use();
  {
    const Tensor huge({int64_t(1) << 40}, DType::f32, Device::dry);
    EXPECT_EQ(pool.bytes_in_use() - before, size_t(1) << 42);
    const Tensor y =
        conv2d_bias_act({.pad = 1}, Activation::relu, Tensor({2, 8, 8, 4}, DType::bf16, Device::dry),
                        Tensor({16, 3, 3, 4}, DType::bf16, Device::dry), Tensor({16}, DType::f32, Device::dry), {});
    EXPECT_EQ(y.shape(), (Shape{2, 8, 8, 16}));
    EXPECT_EQ(Tensor({3}, DType::f32, Device::dry).to_vector<float>(), std::vector<float>(3, 0));
  }
  EXPECT_EQ(pool.bytes_in_use(), before);
  EXPECT_ANY_THROW(parse_device("dry"));
}

void step(Network& network, const ModelInfo& model, int64_t images, PoolScope::Memory& memory) {
  const PoolScope scope(context(Device::cpu), memory);
  Tensor pixels({images, model.image_size, model.image_size, 3}, DType::f32, Device::cpu);
  Tensor labels({images}, DType::i32, Device::cpu);
  kernels(Device::cpu).fill(context(Device::cpu), 0, pixels);
  kernels(Device::cpu).fill(context(Device::cpu), 0, labels);
  Tape tape;
  tape.backward(cross_entropy(network.logits(network.features(Var(pixels), Mode::train), Mode::train), labels));
}

// The peak of a real step on the CPU grows by as much; in bf16 oneDNN may keep copies besides.
TEST(TrainingMemory, IsThatOfAStepOnTheProcessor) {
  const ModelInfo& model = find_model("resnet20_cifar");
  const auto peak = [&](int64_t images) {
    Params params;
    const auto network = model.make(Scope(params), model.classes);
    params.allocate(Device::cpu, DType::f32, /*seed=*/0);
    PoolScope::Memory memory(Device::cpu);
    step(*network, model, images, memory);
    return double(memory.pool->bytes_peak() - memory.workspace_bytes);  // scratch is not counted
  };
  const double per_image = (peak(4) - peak(2)) / 2;
  EXPECT_NEAR(double(training_memory(model, DType::f32)), per_image, 0.1 * per_image);
}

TEST(TrainingMemory, GrowsWithDtypeAndDepth) {
  const int64_t small = training_memory(find_model("resnet18"), DType::bf16);
  EXPECT_GT(small, 8 << 20);
  EXPECT_LT(small, 16 << 20);
  EXPECT_GT(training_memory(find_model("resnet18"), DType::f32), small * 3 / 2);
  EXPECT_GT(training_memory(find_model("resnet50"), DType::bf16), 2 * small);
}

}  // namespace
}  // namespace coss
