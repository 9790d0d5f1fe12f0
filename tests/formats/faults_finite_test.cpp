// Weights that are not finite are refused when they are read, in every container; the error has file, tensor and count.
#include <cstring>
#include <limits>

#include "formats/npy.h"
#include "formats/torch_writer.h"
#include "tests/formats/format_support.h"
#include "tests/support/load_weights.h"
#include "tests/support/support.h"

namespace coss::test {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInfinity = std::numeric_limits<float>::infinity();

// A convolution, whose values change their order when they are read, and a norm.
struct Tiny {
  Params params;
  Var conv, gamma, beta;
  Tensor mean, var;
  Tiny() {
    const Init ones = Init::ones();
    params.add_weight("net.conv1.weight", Shape{2, 3, 3, 4}, FileLayout::conv, ones, &conv);
    params.add_rest("net.bn1.weight", Shape{2}, ones, &gamma);
    params.add_rest("net.bn1.bias", Shape{2}, ones, &beta);
    params.add_stat("net.bn1.running_mean", Shape{2}, ones, &mean);
    params.add_stat("net.bn1.running_var", Shape{2}, ones, &var);
    params.allocate(Device::cpu, DType::f32, 1, /*frozen=*/true);
  }
};

// Its tensors, with some values of one of them replaced.
std::vector<NamedTensor> spoiled(const std::string& name, const std::vector<std::pair<size_t, float>>& values) {
  Tiny tiny;
  std::vector<NamedTensor> tensors = weights_as_tensors(tiny.params, "net");
  for (NamedTensor& tensor : tensors)
    for (const auto& [at, value] : values)
      if (tensor.name == name) std::memcpy(tensor.bytes.data() + at * sizeof(float), &value, sizeof(float));
  return tensors;
}

void write_npz(const std::string& path, const std::vector<NamedTensor>& tensors) {
  const std::string array = scratch_folder() + "/array.npy";
  ZipEntries entries;
  for (const NamedTensor& tensor : tensors) {
    write_npy(array, tensor.dtype, tensor.shape, tensor.bytes.data());
    entries.emplace_back(tensor.name + ".npy", read_text(array));
  }
  write_zip(path, entries);
}

// The error message of loading them from a container; empty without an error.
std::string message_of(const std::string& suffix, const std::vector<NamedTensor>& tensors) {
  const std::string path = scratch_folder() + "/w." + suffix;
  if (suffix == "safetensors") write_safetensors(path, tensors, {});
  if (suffix == "pth") write_torch_zip(path, tensors);
  if (suffix == "npz") write_npz(path, tensors);
  Tiny tiny;
  try {
    load_weights(path, tiny.params, "net", nullptr);
  } catch (const Error& error) {
    expect_contains(error.what(), path);
    return error.what();
  }
  return "";
}

TEST(Faults, A3NanInAWeightNamesTheTensor) {
  for (const char* container : {"safetensors", "pth", "npz"}) {
    SCOPED_TRACE(container);
    EXPECT_EQ(message_of(container, spoiled("", {})), "");
    const std::string of_weight = message_of(container, spoiled("conv1.weight", {{7, kNan}, {71, -kInfinity}}));
    expect_contains(of_weight, "'conv1.weight'");
    expect_contains(of_weight, "2 of 72");
    expect_contains(of_weight, "not finite");
    expect_contains(of_weight, "position 7");
    expect_contains(message_of(container, spoiled("bn1.bias", {{1, kNan}})), "'bn1.bias': 1 of 2");
    expect_contains(message_of(container, spoiled("bn1.running_mean", {{0, kInfinity}})), "'bn1.running_mean'");
    expect_contains(message_of(container, spoiled("bn1.running_var", {{0, kNan}})), "not finite");
  }
}

TEST(Faults, A3NegativeVariance) {
  for (const char* container : {"safetensors", "pth", "npz"}) {
    const std::string message = message_of(container, spoiled("bn1.running_var", {{1, -1e-6f}}));
    expect_contains(message, "'bn1.running_var'");
    expect_contains(message, "1 of 2 values are negative");
    expect_contains(message, "position 1");
    EXPECT_EQ(message_of(container, spoiled("bn1.running_var", {{0, 0.0f}, {1, -0.0f}})), "");
    EXPECT_EQ(message_of(container, spoiled("bn1.running_mean", {{0, -1.0f}})), "");
  }
}

TEST(Faults, A3SixteenBitAndDoubleWeightsAreCheckedToo) {
  std::vector<NamedTensor> tensors = spoiled("", {});
  for (NamedTensor& tensor : tensors) {
    if (tensor.name != "bn1.weight") continue;
    tensor.dtype = FileDType::bf16;
    tensor.bytes = {0x80, 0x3f, 0xc0, 0x7f};  // 1, NaN
  }
  expect_contains(message_of("safetensors", tensors), "'bn1.weight': 1 of 2");
  const double beyond[2] = {1, 1e300};  // infinite as fp32
  for (NamedTensor& tensor : tensors) {
    if (tensor.name != "bn1.weight") continue;
    tensor.dtype = FileDType::f64;
    tensor.bytes.resize(sizeof(beyond));
    std::memcpy(tensor.bytes.data(), beyond, sizeof(beyond));
  }
  expect_contains(message_of("safetensors", tensors), "position 1");
}

TEST(Faults, A3OfSeveralSpoiledTensorsTheFirstIsNamed) {
  std::vector<NamedTensor> tensors = spoiled("bn1.running_var", {{0, kNan}});
  const std::vector<NamedTensor> others = spoiled("conv1.weight", {{0, kNan}});
  for (size_t i = 0; i < tensors.size(); ++i)
    if (others[i].name == "conv1.weight") tensors[i] = others[i];
  for (int run = 0; run < 20; ++run) expect_contains(message_of("safetensors", tensors), "'conv1.weight'");
}

TEST(Faults, A3WhatFillsNoParameterIsNotChecked) {
  std::vector<NamedTensor> tensors = spoiled("", {});
  tensors.push_back({"queue", FileDType::f32, {1}, {0, 0, 0xc0, 0x7f}});
  EXPECT_EQ(message_of("safetensors", tensors), "");
}

}  // namespace
}  // namespace coss::test
