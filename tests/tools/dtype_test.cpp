// Which dtype `auto` is, and that bf16 works where oneDNN has none: DNNL_MAX_CPU_ISA makes the program think so.
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "engine/kernels.h"
#include "tests/support/program.h"
#include "tests/support/support.h"
#include "tools/command.h"
#include "tools/drawn_images.h"

namespace coss {
namespace {

struct Dtype : testing::Test {
  std::string folder = test::scratch_folder(), images = folder + "/images", recipe = folder + "/recipe.json";

  Dtype() {
    draw_folder({.classes = 2, .per_class = 8, .test_per_class = 4, .size = 32, .seed = 2}, images);
    test::write_file(recipe, R"({"threads": 2, "data": {"image_size": 32, "augmentation": "cifar", "path": ")" +
                                 images +
                                 R"("}, "student": {"model": "resnet20_cifar"}, "method": {"name": "supervised"},
                                    "train": {"batch": 8, "max_steps": 3}, "log": {"every_steps": 1}})");
  }

  // As on a processor without AVX-512.
  static test::Outcome run_on_avx2(const std::string& arguments) {
    return test::run_program(arguments, "env DNNL_MAX_CPU_ISA=AVX2");
  }
  std::string run_folder(const std::string& name) const { return folder + "/" + name; }
  std::string dtype_of(const std::string& name) const {
    return nlohmann::json::parse(test::read_file(run_folder(name) + "/config.json"))["dtype"];
  }
};

TEST_F(Dtype, AutoIsWhatTheDeviceTrainsFastestIn) {
  const test::Outcome slow = run_on_avx2("train " + recipe + " --dry-run");
  EXPECT_EQ(slow.code, 0) << slow.err;
  EXPECT_NE(slow.out.find("fp32 on cpu"), std::string::npos) << slow.out;
  const test::Outcome here = test::run_program("train " + recipe + " device=cpu --dry-run");
  const std::string best = dtype_name(resolve_dtype("auto", Device::cpu));
  EXPECT_NE(here.out.find(best + " on cpu"), std::string::npos) << here.out;
  EXPECT_EQ(resolve_dtype("fp32", Device::cpu), DType::f32);
  EXPECT_EQ(resolve_dtype("bf16", Device::cpu), DType::bf16);
}

TEST_F(Dtype, Bf16TrainsWithoutItsInstructions) {
  for (const char* dtype : {"auto", "bf16"}) {
    const std::string name = std::string("run_") + dtype;
    const test::Outcome outcome = run_on_avx2("train " + recipe + " dtype=" + dtype + " --out " + run_folder(name));
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_EQ(dtype_of(name), dtype == std::string("auto") ? "fp32" : "bf16");
  }
}

TEST_F(Dtype, AResumedRunKeepsItsOwn) {
  const std::string out = run_folder("run");
  EXPECT_EQ(test::run_program("train " + recipe + " dtype=bf16 --out " + out).code, 0);
  const test::Outcome outcome = run_on_avx2("train " + recipe + " --resume --out " + out);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(dtype_of("run"), "bf16");
}

TEST_F(Dtype, ResultsAreComputedInFp32) {
  EXPECT_EQ(CommonOptions{}.compute(), DType::f32);
  EXPECT_EQ(test::run_program("train " + recipe + " --out " + run_folder("run")).code, 0);
  const test::Outcome outcome = test::run_program("eval knn --model resnet20_cifar --k 1 --data " + images +
                                                  " --weights " + run_folder("run") + "/student.safetensors");
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_NE(outcome.err.find("computing in fp32 on "), std::string::npos) << outcome.err;
}

TEST_F(Dtype, WhatTheProcessorCannotDoIsRefusedAtOnce) {
  const std::string out = run_folder("run");
  for (const char* wish : {"dtype=fp16", "tf32=true"}) {
    const test::Outcome outcome = test::run_program("train " + recipe + " device=auto " + wish + " --out " + out);
    if (is_usable(Device::cuda)) continue;
    EXPECT_EQ(outcome.code, 1);
    EXPECT_NE(outcome.err.find("for GPUs"), std::string::npos) << outcome.err;
    EXPECT_FALSE(std::filesystem::exists(out));
  }
}

}  // namespace
}  // namespace coss
