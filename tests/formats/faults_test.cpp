// Files of users that were once refused or took minutes.
#include <chrono>
#include <filesystem>
#include <functional>
#include <limits>

#include "formats/safetensors.h"
#include "tests/formats/format_support.h"
#include "tests/support/support.h"

namespace coss::test {
namespace {

double seconds_of(const std::function<void()>& action) {
  const auto begin = std::chrono::steady_clock::now();
  action();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// Values that users of PyTorch save besides the weights; two files have a tensor whose values cannot be read.
TEST(Faults, C2ObjectsBesideTheWeights) {
  const auto shared = shared_folder();
  if (!shared) GTEST_SKIP() << "the shared folder is missing";
  const std::string folder = *shared + "/cases/pickle-objects";
  if (!std::filesystem::is_directory(folder)) GTEST_SKIP() << folder << " is not there";
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    SCOPED_TRACE(entry.path());
    ++files;
    const TensorFile file = open_tensor_file(entry.path());
    ASSERT_GE(file.tensors().size(), 1u);
    const std::string name = entry.path().stem();
    for (const FileTensor& tensor : file.tensors()) {
      const bool cannot = (name == "sparse" || name == "meta") && &tensor != &file.tensors().front();
      EXPECT_EQ(tensor.unreadable.empty(), !cannot) << tensor.name;
      if (!cannot) file.read_bytes(tensor);
    }
  }
  EXPECT_EQ(files, 17);
}

TEST(Faults, C2Float8) {
  const std::string path = scratch_folder() + "/f8.safetensors";
  // Powers of two and the ends of both ranges, as PyTorch converts them.
  NamedTensor e4m3{"e4m3", FileDType::f8_e4m3, {6}, {0x38, 0xb8, 0x7e, 0x01, 0x08, 0x00}};
  NamedTensor e5m2{"e5m2", FileDType::f8_e5m2, {5}, {0x3c, 0xbc, 0x7b, 0x01, 0x7c}};
  write_safetensors(path, {e4m3, e5m2}, {});
  const TensorFile file = open_tensor_file(path);
  EXPECT_EQ(file.read_floats(*file.find("e4m3")), (std::vector<float>{1, -1, 448, 0x1p-9f, 0x1p-6f, 0}));
  EXPECT_EQ(file.read_floats(*file.find("e5m2")),
            (std::vector<float>{1, -1, 57344, 0x1p-16f, std::numeric_limits<float>::infinity()}));
  // A dtype that coss does not have is an error only if the tensor is needed.
  const std::string header =
      R"({"a":{"dtype":"F4","shape":[4],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})";
  write_text(path, little(header.size(), 8) + header + "xyz");
  const TensorFile other = open_tensor_file(path);
  EXPECT_EQ(other.read_bytes(*other.find("b")), std::vector<uint8_t>{'z'});
  expect_contains(error_of([&] { other.read_bytes(*other.find("a")); }), "tensor 'a' has the dtype F4");
}

// A million tensors took hours; the time must grow as the header does. The bound is wide for busy machines.
TEST(Faults, D3LongHeaders) {
  const std::string path = scratch_folder() + "/long.safetensors";
  const auto write = [&](int tensors) {
    std::string header = "{";
    for (int i = 0; i < tensors; ++i)
      header += (i ? ",\"" : "\"") + std::to_string(i) + R"(":{"dtype":"U8","shape":[],"data_offsets":[)" +
                std::to_string(i) + "," + std::to_string(i + 1) + "]}";
    header += "}";
    write_text(path, little(header.size(), 8) + header + std::string(size_t(tensors), '\1'));
  };
  constexpr int kTensors = 1'000'000;
  write(kTensors);
  const double seconds = seconds_of([&] { EXPECT_EQ(open_tensor_file(path).tensors().size(), size_t(kTensors)); });
  EXPECT_LT(seconds, 30) << "5 s on an idle core";
}

TEST(Faults, D4PicklesThatFillTheMemory) {
  const std::string path = scratch_folder() + "/bomb.pth";
  const auto refuse = [&](const std::string& pickle) {
    write_zip(path, {{"x/data.pkl", pickle}}, /*deflated=*/true);
    return error_of([&] { open_tensor_file(path); });
  };
  expect_contains(refuse(std::string(64 << 20, '(')), "data.pkl is compressed to less than 1/200");
  expect_contains(refuse(std::string(1 << 20, '(')), "nested too deeply");
}

}  // namespace
}  // namespace coss::test
