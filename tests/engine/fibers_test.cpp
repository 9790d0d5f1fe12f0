// The host-run build of the CUDA kernels: it computes what a GPU would, and reports what a GPU would leave undefined.
#include <gtest/gtest.h>

#ifdef COSS_CUDA_HOST
#include "engine/check.h"
#include "engine/cuda/device.h"

namespace coss::cuda {
namespace {

template <class Body>
void run(Body body, unsigned threads, unsigned blocks = 2, size_t shared = 0) {
  host::run_grid("test", dim3(blocks), dim3(threads), shared, body);
}

template <class Body>
std::string error_of(Body body, unsigned threads) {
  try {
    run(body, threads);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Fibers, BlockSumsReachEveryThread) {
  std::vector<float> sums(2 * 96);
  run(
      [&] {
        const float total = block_sum<96>(float(threadIdx.x + 1 + blockIdx.x));
        sums[blockIdx.x * 96 + threadIdx.x] = total + block_sum<96>(1.0f);
      },
      96);
  for (int i = 0; i < 96; ++i) {
    EXPECT_EQ(sums[size_t(i)], 96 * 97 / 2 + 96);
    EXPECT_EQ(sums[size_t(96 + i)], 96 * 97 / 2 + 96 + 96);
  }
}

TEST(Fibers, ShufflesAndVotes) {
  run(
      [&] {
        const int lane = int(threadIdx.x) % 32;
        EXPECT_EQ(__shfl_sync(kAllLanes, lane, 5), 5);
        EXPECT_EQ(__shfl_xor_sync(kAllLanes, lane, 3), lane ^ 3);
        EXPECT_EQ(__shfl_down_sync(kAllLanes, lane, 4), lane < 28 ? lane + 4 : lane);
        EXPECT_EQ(__shfl_up_sync(kAllLanes, lane, 4), lane < 4 ? lane : lane - 4);
        EXPECT_EQ(__ballot_sync(kAllLanes, lane % 2), 0xaaaaaaaau);
        if (lane < 8) {
          EXPECT_EQ(__shfl_sync(0xffu, 10 * lane, 7), 70);
        }
      },
      64);
}

TEST(Fibers, DynamicSharedMemory) {
  std::vector<int> out(64);
  run(
      [&] {
        COSS_DYNAMIC_SHARED(int, values);
        values[threadIdx.x] = int(threadIdx.x);
        __syncthreads();
        if (blockIdx.x == 1) out[threadIdx.x] = values[63 - threadIdx.x];
      },
      64, 2, 64 * sizeof(int));
  for (int i = 0; i < 64; ++i) EXPECT_EQ(out[size_t(i)], 63 - i);
}

TEST(Fibers, AWarpsOwnOperationsOrderItsAccesses) {
  EXPECT_EQ(error_of(
                [] {
                  COSS_SHARED(int, values, 32);
                  values[threadIdx.x] = 1;
                  __syncwarp();
                  const int right = values[(threadIdx.x + 1) % 32];
                  __syncwarp();
                  values[threadIdx.x] = right;
                },
                32),
            "");
}

TEST(Fibers, RacesAreReported) {
  auto neighbor = [] {
    COSS_SHARED(int, values, 64);
    values[threadIdx.x] = 1;
    [[maybe_unused]] const int other = values[(threadIdx.x + 1) % 64];
  };
  EXPECT_NE(error_of(neighbor, 64), "");
  auto late_write = [] {
    COSS_SHARED(int, values, 64);
    values[threadIdx.x] = 1;
    __syncthreads();
    [[maybe_unused]] const int other = values[(threadIdx.x + 32) % 64];
    values[threadIdx.x] = 2;
  };
  EXPECT_NE(error_of(late_write, 64).find("race"), std::string::npos);
  auto same_place = [] {
    COSS_SHARED(int, values, 1);
    values[0] = int(threadIdx.x);
  };
  EXPECT_NE(error_of(same_place, 2).find("two writes"), std::string::npos);
  auto in_a_warp = [] {
    COSS_SHARED(int, values, 2);
    if (threadIdx.x == 0) values[0] = values[1] = 1;
    __syncthreads();
    const int both = values[0];
    if (threadIdx.x == 7) values[0] = both + 1;
  };
  EXPECT_NE(error_of(in_a_warp, 32).find("race"), std::string::npos);
}

TEST(Fibers, WhatNobodyWroteIsReported) {
  auto body = [] {
    COSS_SHARED(int, values, 4);
    [[maybe_unused]] const int value = values[0];
  };
  EXPECT_NE(error_of(body, 1).find("has not written"), std::string::npos);
  auto outside = [] {
    COSS_SHARED(int, values, 4);
    values[4] = 1;
  };
  EXPECT_NE(error_of(outside, 1).find("of 4 elements"), std::string::npos);
}

TEST(Fibers, MissedBarriersAreReported) {
  auto some = [] {
    if (threadIdx.x < 40) __syncthreads();
  };
  EXPECT_NE(error_of(some, 64).find("do not reach"), std::string::npos);
  auto different = [] {
    if (threadIdx.x < 40)
      __syncthreads();
    else
      __syncthreads();
  };
  EXPECT_NE(error_of(different, 64).find("at the one in line"), std::string::npos);
  auto lanes = [] {
    if (threadIdx.x % 2) __syncwarp();
  };
  EXPECT_NE(error_of(lanes, 32).find("lanes that never come"), std::string::npos);
}

TEST(Fibers, ErrorsLeaveTheNextGridAlone) {
  EXPECT_NE(error_of([] { throw Error("broken"); }, 32).find("broken"), std::string::npos);
  int count = 0;
  run([&] { ++count; }, 32);
  EXPECT_EQ(count, 64);
}

}  // namespace
}  // namespace coss::cuda

#else

TEST(Fibers, HostRunBuild) { GTEST_SKIP() << "this build does not run CUDA kernels on the processor"; }

#endif
