// The order of values in files and in the engine, the checksum of zip entries, and filling parameters from every
// container.
#include "formats/weight_numbers.h"

#include <filesystem>

#include "formats/crc32.h"
#include "formats/safetensors.h"
#include "formats/torch_writer.h"
#include "tests/formats/format_support.h"
#include "tests/support/support.h"

namespace coss::test {
namespace {

TEST(Crc32, HasTheStandardsValueAtAnyLengthAndCut) {
  const std::string digits = "123456789";
  EXPECT_EQ(crc32_of(reinterpret_cast<const uint8_t*>(digits.data()), digits.size()), 0xcbf43926u);
  std::vector<uint8_t> bytes(1000);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = uint8_t(i * i / 3);
  uint32_t slowly = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    EXPECT_EQ(crc32_of(bytes.data(), i), slowly) << i;
    slowly = crc32_of(&bytes[i], 1, slowly);
  }
  const uint32_t head = crc32_of(bytes.data(), 333);
  EXPECT_EQ(crc32_of(bytes.data() + 333, 667, head), slowly);
}

TEST(WeightNumbers, OrdersAreEachOthersInverse) {
  for (const FileLayout layout : {FileLayout::plain, FileLayout::conv, FileLayout::depthwise}) {
    Params::Entry entry;
    entry.layout = layout;
    entry.shape = layout == FileLayout::conv ? Shape{4, 3, 5, 7} : Shape{3, 5, 28};
    std::vector<float> there(size_t(entry.shape.numel())), here(there.size()), back(there.size());
    for (size_t i = 0; i < there.size(); ++i) there[i] = float(i);
    to_engine_order(entry, there.data(), here.data());
    to_file_order(entry, here.data(), back.data());
    EXPECT_EQ(back, there);
    EXPECT_EQ(here == there, layout == FileLayout::plain);
    if (layout == FileLayout::conv) {  // (k,r,s,c) = (1,2,4,6) is (1,6,2,4) there
      EXPECT_EQ(here[1 * 105 + 2 * 35 + 4 * 7 + 6], float(1 * 105 + 6 * 15 + 2 * 5 + 4));
    }
    if (layout == FileLayout::depthwise) {  // (r,s,c) = (2,4,6) is (6,2,4) there
      EXPECT_EQ(here[2 * 140 + 4 * 28 + 6], float(6 * 15 + 2 * 5 + 4));
    }
  }
}

class Fill : public ::testing::Test {
 protected:
  Fill() {
    const Init normal{Init::normal, 0, 1};
    for (int i = 0; i < 40; ++i) {
      const std::string name = "conv" + std::to_string(i);
      params_.add_weight(name, Shape{i % 5 + 1, 3, 3, 17}, FileLayout::conv, normal, &vars_[i]);
    }
    params_.allocate(Device::cpu, DType::f32, 0);
    for (const Params::Entry& entry : params_.entries()) {
      std::vector<float> values(size_t(entry.shape.numel()));
      for (size_t i = 0; i < values.size(); ++i) values[i] = float(i) + float(entry.offset);
      std::vector<uint8_t> bytes(values.size() * 4);
      std::copy_n(reinterpret_cast<const uint8_t*>(values.data()), bytes.size(), bytes.data());
      tensors_.push_back({entry.name, FileDType::f32, file_shape(entry), bytes});
    }
  }
  void fill(const std::string& path) {
    const TensorFile file = open_tensor_file(path);
    std::vector<Filling> fillings;
    for (const Params::Entry& entry : params_.entries()) fillings.push_back({&entry, file.find(entry.name)});
    fill_params(file, fillings, params_);
  }
  void expect_filled() {
    for (const Params::Entry& entry : params_.entries()) {
      const std::vector<float> here = params_.master(entry).to_vector<float>();
      std::vector<float> there(here.size());
      to_file_order(entry, here.data(), there.data());
      for (size_t i = 0; i < there.size(); ++i) ASSERT_EQ(there[i], float(i) + float(entry.offset)) << entry.name;
    }
  }
  Params params_;
  Var vars_[40];
  std::vector<NamedTensor> tensors_;
};

TEST_F(Fill, FromBothOwnContainers) {
  const std::string folder = scratch_folder();
  write_safetensors(folder + "/w.safetensors", tensors_, {});
  fill(folder + "/w.safetensors");
  expect_filled();
  kernels(Device::cpu).fill(context(Device::cpu), 0, params_.weights().value);
  write_torch_zip(folder + "/w.pth", tensors_);
  fill(folder + "/w.pth");
  expect_filled();
}

TEST_F(Fill, DamageInAStorageIsFound) {
  const std::string path = scratch_folder() + "/w.pth";
  write_torch_zip(path, tensors_);
  std::string bytes = read_text(path);
  const std::string data(reinterpret_cast<const char*>(tensors_[7].bytes.data()), tensors_[7].bytes.size());
  const size_t at = bytes.find(data);
  ASSERT_NE(at, std::string::npos);
  bytes[at + data.size() / 2] ^= 1;
  write_text(path, bytes);
  expect_contains(error_of([&] { fill(path); }), "checksum");
}

}  // namespace
}  // namespace coss::test
