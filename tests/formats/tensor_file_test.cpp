// PyTorch's newer containers and safetensors against what PyTorch reads, with small files of the tests and with real
// checkpoints.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "tests/formats/format_support.h"
#include "tests/support/open_count.h"
#include "tests/support/support.h"

namespace coss::test {
namespace {

// safetensors' and PyTorch's names for what name_of() calls "f32".
const std::map<std::string, std::string> kTorchNames = {
    {"f64", "float64"}, {"f32", "float32"}, {"f16", "float16"},   {"bf16", "bfloat16"}, {"i64", "int64"},
    {"i32", "int32"},   {"i16", "int16"},   {"i8", "int8"},       {"u8", "uint8"},      {"bool", "bool"},
    {"u16", "uint16"},  {"u32", "uint32"},  {"c64", "complex64"},
};

void expect_same_tensors(const std::string& path, bool all) {
  const TensorFile file = open_tensor_file(path);
  const TensorFile expected = open_tensor_file(golden_path("formats/expected.safetensors"));
  EXPECT_EQ(file.tensors().size() == expected.tensors().size(), all);
  for (const FileTensor& tensor : file.tensors()) {
    const FileTensor* twin = expected.find(tensor.name);
    ASSERT_NE(twin, nullptr) << tensor.name;
    EXPECT_EQ(tensor.dtype, twin->dtype) << tensor.name;
    EXPECT_EQ(tensor.shape, twin->shape) << tensor.name;
    EXPECT_EQ(file.read_bytes(tensor), expected.read_bytes(*twin)) << tensor.name;
  }
}

TEST(TensorFile, ZipEqualsPyTorch) {
  expect_same_tensors(golden_path("formats/zip.pt"), true);
  const TensorFile file = open_tensor_file(golden_path("formats/zip.pt"));
  EXPECT_EQ(file.container(), "PyTorch zip");
  EXPECT_EQ(file.metadata().at("epoch"), "7");
  EXPECT_EQ(file.metadata().at("arch"), "tiny");
  EXPECT_EQ(file.metadata().at("args.lr").substr(0, 3), "0.1");
  EXPECT_EQ(file.metadata().at("accuracy").substr(0, 3), "0.5");
}

TEST(TensorFile, LegacyEqualsPyTorch) {
  expect_same_tensors(golden_path("formats/legacy.pt"), false);
  const TensorFile file = open_tensor_file(golden_path("formats/legacy.pt"));
  EXPECT_EQ(file.container(), "PyTorch legacy");
  EXPECT_EQ(file.tensors().size(), 18u);
}

TEST(TensorFile, EveryContainerIsOpenedOnce) {
  for (const char* name : {"zip.pt", "script.pt", "legacy.pt", "tar.pth", "module.safetensors", "stored.npz",
                           "deflated.npz", "c_order.npy"}) {
    const std::string path = golden_path(std::string("formats/") + name);
    OpenCount opened(path);
    if (!opened.works()) GTEST_SKIP() << "inotify is not there";
    {
      const TensorFile file = open_tensor_file(path);
      for (const FileTensor& tensor : file.tensors()) file.read_bytes(tensor);
    }
    EXPECT_EQ(opened.count(), 1) << name;
  }
}

TEST(TensorFile, DeflatedZip) {
  const std::string folder = scratch_folder();
  const std::string pickle = std::string("\x80\x02}") + "X" + little(1, 4) + "w" +
                             "ctorch._utils\n_rebuild_tensor_v2\n((X" + little(7, 4) +
                             "storagectorch\nFloatStorage\nX" + little(1, 4) + "0X" + little(3, 4) + "cpuM" +
                             little(1000, 2) + "tQM" + little(10, 2) + "K\x03K\x02\x86K\x02K\x01\x86\x89NtRs.";
  std::string storage;
  for (int i = 0; i < 1000; ++i) {
    const float value = float(i);
    storage.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  for (bool deflated : {false, true}) {
    const std::string path = folder + "/" + (deflated ? "deflated.pt" : "stored.pt");
    write_zip(path, {{"a/data.pkl", pickle}, {"a/data/0", storage}, {"a/byteorder", "little"}}, deflated);
    const TensorFile file = open_tensor_file(path);
    ASSERT_NE(file.find("w"), nullptr);
    EXPECT_EQ(file.read_floats(*file.find("w")), (std::vector<float>{10, 11, 12, 13, 14, 15}));
  }
  std::string swapped = storage;
  for (size_t i = 0; i < swapped.size(); i += 4) std::reverse(swapped.begin() + long(i), swapped.begin() + long(i + 4));
  write_zip(folder + "/big.pt", {{"a/data.pkl", pickle}, {"a/data/0", swapped}, {"a/byteorder", "big"}});
  const TensorFile big = open_tensor_file(folder + "/big.pt");
  EXPECT_EQ(big.read_floats(*big.find("w")), (std::vector<float>{10, 11, 12, 13, 14, 15}));
  // A storage that is shorter than the pickle says.
  write_zip(folder + "/short.pt", {{"a/data.pkl", pickle}, {"a/data/0", storage.substr(0, 100)}});
  expect_contains(error_of([&] { open_tensor_file(folder + "/short.pt"); }), "100 bytes where 4000");
  write_zip(folder + "/none.pt", {{"a/data.pkl", pickle}});
  expect_contains(error_of([&] { open_tensor_file(folder + "/none.pt"); }), "storage '0' is not in the file");
}

// [dtype, shape, sum of x * (position % 97 + 1) over the finite ones, number of the others]
void expect_checksum(const TensorFile& file, const FileTensor& tensor, const nlohmann::json& golden) {
  EXPECT_EQ(kTorchNames.at(name_of(tensor.dtype)), golden[0].get<std::string>()) << tensor.name;
  EXPECT_EQ(tensor.shape, golden[1].get<std::vector<int64_t>>()) << tensor.name;
  const std::vector<float> values = file.read_floats(tensor);
  double sum = 0, size = 0;
  int64_t infinite = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double term = double(values[i]) * double(i % 97 + 1);
    if (!std::isfinite(values[i])) {
      ++infinite;
    } else {
      sum += term;
      size += std::abs(term);
    }
  }
  EXPECT_NEAR(sum, golden[2].get<double>(), 1e-7 * size) << tensor.name;
  EXPECT_EQ(infinite, golden[3].get<int64_t>()) << tensor.name;
}

TEST(TensorFile, RealCheckpointsEqualPyTorch) {
  const auto shared = shared_folder();
  if (!shared) GTEST_SKIP() << "the shared folder is missing";
  std::ifstream text(golden_path("formats/shared_checksums.json"));
  const nlohmann::json goldens = nlohmann::json::parse(text);
  ASSERT_GT(goldens.size(), 30u);
  for (const auto& [name, tensors] : goldens.items()) {
    SCOPED_TRACE(name);
    const TensorFile file = open_tensor_file(*shared + "/checkpoints/" + name);
    EXPECT_EQ(file.tensors().size(), tensors.size());
    for (const auto& [key, golden] : tensors.items()) {
      ASSERT_NE(file.find(key), nullptr) << key;
      expect_checksum(file, *file.find(key), golden);
    }
  }
}

TEST(TensorFile, RefusesWhatItCannotRead) {
  const auto shared = shared_folder();
  if (!shared) GTEST_SKIP() << "the shared folder is missing";
  const std::string folder = *shared + "/checkpoints/";
  const std::map<std::string, std::string> refused = {
      {"fixtures/burn-reader/broken.pt", "neither a safetensors file nor a PyTorch checkpoint"},
      {"fixtures/truncated/resnet18-5c106cde.pth",
       "member 'storages' of the tar archive has 46801661 bytes, of which the file holds 1027584"},
      {"fixtures", "not a regular file"},
      {"nothing.pt", "No such file"},
  };
  for (const auto& [name, reason] : refused) {
    const std::string path = folder + name;
    expect_contains(error_of([&] { open_tensor_file(path); }), reason);
  }
}

}  // namespace
}  // namespace coss::test
