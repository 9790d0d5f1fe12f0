// Tensor, Pool, Context and the table of backends.
#include "engine/tensor.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <stdexcept>

#include "tests/support/support.h"

namespace coss::test {

namespace {
Tensor counting(Shape shape) {
  std::vector<float> values(size_t(shape.numel()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = float(i);
  return Tensor::from(values, shape, Device::cpu);
}
}  // namespace

TEST(Tensor, ViewsShareTheirBytes) {
  Tensor whole = counting({4, 6});
  Tensor row = whole.view(6, {2, 3});
  EXPECT_EQ(row.to_doubles(), (std::vector<double>{6, 7, 8, 9, 10, 11}));
  row.mutable_data<float>()[0] = 100;
  EXPECT_EQ(whole.to_doubles()[6], 100);
  EXPECT_EQ(row.view(1, {2}).to_doubles(), (std::vector<double>{7, 8}));
  EXPECT_EQ(whole.reshape({24}).shape(), Shape{24});
  EXPECT_THROW(whole.view(20, {5}), std::logic_error);
  EXPECT_THROW(whole.view(-1, {2}), std::logic_error);
}

TEST(Tensor, CopiesShareAndUniqueTells) {
  Tensor a = counting({3});
  EXPECT_TRUE(a.unique());
  {
    const Tensor b = a;
    EXPECT_FALSE(a.unique());
    EXPECT_EQ(a.raw(), b.raw());
  }
  EXPECT_TRUE(a.unique());
  EXPECT_TRUE(Tensor().empty());
}

TEST(Tensor, VersionChangesWithWritingThroughAnyView) {
  Tensor a = counting({8});
  Tensor view = a.view(4, {4});
  const uint64_t before = a.version();
  EXPECT_EQ(a.to_doubles().size(), 8u);
  EXPECT_EQ(a.version(), before);
  view.mutable_data<float>();
  EXPECT_NE(a.version(), before);
  EXPECT_EQ(a.version(), view.version());
  // Never used twice, also not by another tensor at the same address.
  const uint64_t last = a.version();
  a = view = Tensor();
  EXPECT_NE(counting({8}).version(), last);
}

TEST(Tensor, TypedAccessRefusesAnotherType) {
  Tensor a = counting({2});
  EXPECT_THROW(a.data<double>(), std::logic_error);
  EXPECT_THROW(a.mutable_data<bf16>(), std::logic_error);
  EXPECT_THROW(Tensor().raw(), std::logic_error);
}

TEST(Tensor, TypesComeBackAsTheyWent) {
  const std::vector<int64_t> values = {-(int64_t(1) << 40), 7};
  EXPECT_EQ(Tensor::from(values, {2}, Device::cpu).to_vector<int64_t>(), values);
  const Tensor small = Tensor::from(std::vector<uint8_t>{0, 255}, {2}, Device::cpu);
  EXPECT_EQ(small.to_doubles(), (std::vector<double>{0, 255}));
  EXPECT_EQ(small.bytes(), 2u);
  EXPECT_EQ(counting({1}).item(), 0);
}

TEST(Pool, ReusesBlocksOfAboutTheSameSize) {
  Pool pool(Device::cpu);
  void* first = pool.take(10000);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(first) % 256, 0u);
  EXPECT_EQ(pool.grown(), 1);
  pool.give(first);
  EXPECT_EQ(pool.take(9900), first);
  EXPECT_EQ(pool.grown(), 1);
  pool.give(first);
  void* tiny = pool.take(100);  // would waste nearly all of the block
  EXPECT_NE(tiny, first);
  EXPECT_EQ(pool.grown(), 2);
  pool.give(tiny);
}

TEST(Pool, DoesNotGrowOnceEveryShapeWasSeen) {
  Pool pool(Device::cpu);
  auto step = [&] {
    std::vector<void*> blocks;
    for (size_t bytes : {1000u, 50000u, 1000u, 777u, 123456u}) blocks.push_back(pool.take(bytes));
    for (void* block : blocks) pool.give(block);
  };
  step();
  const int64_t grown = pool.grown();
  for (int i = 0; i < 10; ++i) step();
  EXPECT_EQ(pool.grown(), grown);
}

TEST(Pool, CountsBytesAndTrims) {
  Pool pool(Device::cpu);
  void* a = pool.take(1024);
  void* b = pool.take(2048);
  EXPECT_EQ(pool.bytes_in_use(), 3072u);
  pool.give(a);
  EXPECT_EQ(pool.bytes_in_use(), 2048u);
  EXPECT_EQ(pool.bytes_peak(), 3072u);
  pool.reset_peak();
  EXPECT_EQ(pool.bytes_peak(), 2048u);
  EXPECT_EQ(pool.bytes_reserved(), 3072u);
  pool.trim();
  EXPECT_EQ(pool.bytes_reserved(), 2048u);
  pool.give(b);
  pool.trim();
  EXPECT_EQ(pool.bytes_reserved(), 0u);
  EXPECT_EQ(pool.bytes_in_use(), 0u);
}

TEST(Pool, NothingIsStillABlock) {
  Pool pool(Device::cpu);
  void* block = pool.take(0);
  EXPECT_NE(block, nullptr);
  pool.give(block);
}

TEST(Context, WorkspaceOnlyGrows) {
  Context local(Device::cpu);
  void* small = local.workspace(1000);
  EXPECT_EQ(local.workspace(500), small);
  void* large = local.workspace(1 << 20);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(large) % 256, 0u);
  EXPECT_EQ(local.workspace(1000), large);
}

TEST(Context, StateIsMadeOnceAndEndsWithTheContext) {
  struct State : BackendState {
    ~State() override { ++ended(); }
    static int& ended() {
      static int count = 0;
      return count;
    }
    int value = 1;
  };
  {
    Context local(Device::cpu);
    local.state<State>().value = 5;
    EXPECT_EQ(local.state<State>().value, 5);
  }
  EXPECT_EQ(State::ended(), 1);
}

TEST(Context, APoolScopeTakesItsMemoryElsewhere) {
  Context local(Device::cpu);
  void* const common = local.workspace(1000);
  PoolScope::Memory memory(Device::cpu);
  const int64_t grown = local.pool().grown();
  {
    const PoolScope scope(local, memory);
    EXPECT_NE(local.workspace(1000), common);
    local.pool().give(local.pool().take(500));
  }
  EXPECT_EQ(local.pool().grown(), grown);
  EXPECT_EQ(memory.pool->grown(), 2);
  EXPECT_EQ(local.workspace(1000), common);
  {
    const PoolScope scope(local, memory);
    local.pool().give(local.pool().take(500));
  }
  EXPECT_EQ(memory.pool->grown(), 2);
}

}  // namespace coss::test
