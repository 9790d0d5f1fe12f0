// The dry device, and the figures that come from it: multiply-accumulates and memory.
#include "models/cost.h"

#include <gtest/gtest.h>

#include <thread>

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

// The multiply-accumulates of `work` on the dry device.
template <class Work>
int64_t macs_of(Work work) {
  const int64_t before = dry_macs();
  work();
  return dry_macs() - before;
}

Tensor dry(Shape shape) { return Tensor(shape, DType::f32, Device::dry); }
Var learned(Shape shape) { return Var(dry(shape), std::make_shared<Grad>(Grad{dry(shape), true})); }

// Those of forward and backward; the loss itself multiplies nothing.
template <class Forward>
int64_t macs_of_step(Forward forward) {
  return macs_of([&] {
    Tape tape;
    const Var y = forward();
    const int64_t images = y.shape()[0];
    const Var rows = reshape(y, {images, y.shape().numel() / images});
    tape.backward(cross_entropy(rows, Tensor({images}, DType::i32, Device::dry)));
  });
}

// The output has 2 images, 4 by 4 pixels and 16 channels; each number is a sum over a window of 3 by 3 and the channels
// of a group. The gradients of input and weight take as many multiplications each.
TEST(DryMacs, OfConvolutions) {
  struct Kind {
    ConvParams conv;
    Shape weight;
    int64_t window;
  };
  for (const Kind& kind : {Kind{{.stride = 2, .pad = 1}, {16, 3, 3, 16}, 9 * 16},
                           Kind{{.stride = 2, .pad = 1, .groups = 4}, {16, 3, 3, 4}, 9 * 4},
                           Kind{{.stride = 2, .pad = 1, .depthwise = true}, {3, 3, 16}, 9}}) {
    const int64_t forward = 2 * 4 * 4 * 16 * kind.window;
    const Var x = learned({2, 8, 8, 16}), w = learned(kind.weight);
    EXPECT_EQ(macs_of([&] { conv2d(kind.conv, x, w); }), forward);
    EXPECT_EQ(macs_of([&] { conv2d_bias_act(kind.conv, Activation::relu, x.value, w.value, dry({16}), {}); }), forward);
    EXPECT_EQ(macs_of_step([&] { return conv2d(kind.conv, x, w); }), 3 * forward);
  }
}

TEST(DryMacs, OfProducts) {
  const Var x = learned({2, 5, 6}), w = learned({7, 6});
  EXPECT_EQ(macs_of([&] { linear(x, w, {}); }), 2 * 5 * 6 * 7);
  EXPECT_EQ(macs_of_step([&] { return linear(x, w, {}); }), 3 * 2 * 5 * 6 * 7);
}

// There are two heads of 3 channels and 5 tokens; all tokens ask, or the first one only.
TEST(DryMacs, OfAttention) {
  const Var qkv(dry({2, 5, 18}));
  EXPECT_EQ(macs_of([&] { attention({.heads = 2}, qkv); }), 2 * (2 * 2 * 5 * 5 * 3));
  EXPECT_EQ(macs_of([&] { attention({.heads = 2, .queries = 1}, qkv); }), 2 * (2 * 2 * 1 * 5 * 3));
}

TEST(DryMacs, EachThreadCountsItsOwn) {
  const ModelInfo& small = find_model("resnet20_cifar");
  const ModelInfo& large = find_model("resnet110_cifar");
  const int64_t small_macs = cost_of(small).macs, large_macs = cost_of(large).macs;
  std::vector<std::thread> threads;
  for (const bool is_large : {false, true})
    threads.emplace_back([&, is_large] {
      for (int i = 0; i < 20; ++i)
        EXPECT_EQ(cost_of(is_large ? large : small).macs, is_large ? large_macs : small_macs);
    });
  for (std::thread& thread : threads) thread.join();
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

// The peak of a real step on the CPU grows by as much. In fp32, because in bf16 oneDNN may keep copies as well.
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
