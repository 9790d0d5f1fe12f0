// safetensors: round trip, and headers with wrong values.
#include "formats/safetensors.h"

#include <cstring>
#include <filesystem>

#include "tests/formats/format_support.h"
#include "tests/support/support.h"

namespace coss::test {
namespace {

NamedTensor floats(const std::string& name, std::vector<int64_t> shape, const std::vector<float>& values) {
  NamedTensor tensor{name, FileDType::f32, std::move(shape), std::vector<uint8_t>(values.size() * 4)};
  if (!values.empty()) std::memcpy(tensor.bytes.data(), values.data(), tensor.bytes.size());
  return tensor;
}

class Safetensors : public ::testing::Test {
 protected:
  const std::string path_ = scratch_folder() + "/file.safetensors";
  void put(const std::string& header, size_t data_bytes) {
    write_text(path_, little(header.size(), 8) + header + std::string(data_bytes, '\0'));
  }
  std::string refuse() {
    return error_of([&] { open_tensor_file(path_); });
  }
};

TEST_F(Safetensors, RoundTrip) {
  NamedTensor bytes{"bytes", FileDType::u8, {3}, {1, 2, 3}};
  NamedTensor count{"n.num_batches_tracked", FileDType::i64, {}, {5, 0, 0, 0, 0, 0, 0, 0}};
  write_safetensors(path_, {bytes, floats("a.weight", {2, 2}, {1, 2, 3, -4}), floats("none", {0, 3}, {}), count},
                    {{"format", "pt"}, {"note", "größe \"x\""}});
  const TensorFile file = open_tensor_file(path_);
  EXPECT_EQ(file.container(), "safetensors");
  EXPECT_EQ(file.metadata().at("note"), "größe \"x\"");
  ASSERT_EQ(file.tensors().size(), 4u);
  EXPECT_EQ(file.read_floats(*file.find("a.weight")), (std::vector<float>{1, 2, 3, -4}));
  EXPECT_EQ(file.read_floats(*file.find("n.num_batches_tracked")), (std::vector<float>{5}));
  EXPECT_TRUE(file.find("n.num_batches_tracked")->shape.empty());
  EXPECT_EQ(file.read_bytes(*file.find("bytes")), (std::vector<uint8_t>{1, 2, 3}));
  EXPECT_EQ(file.find("none")->shape, (std::vector<int64_t>{0, 3}));
  EXPECT_EQ(file.find("other"), nullptr);
}

TEST_F(Safetensors, WritesNothingWrong) {
  error_of([&] { write_safetensors(path_, {floats("a", {3}, {1, 2})}, {}); });
  error_of([&] { write_safetensors(path_, {floats("a", {1}, {1}), floats("a", {1}, {1})}, {}); });
  error_of([&] { write_safetensors(path_, {floats("\xff", {1}, {1})}, {}); });
  const std::string missing = scratch_folder() + "/no/such/folder/x.safetensors";
  expect_contains(error_of([&] { write_safetensors(missing, {}, {}); }), missing);
  EXPECT_TRUE(std::filesystem::is_empty(std::filesystem::path(path_).parent_path()));
}

TEST_F(Safetensors, RefusesImpossibleHeaders) {
  write_text(path_, little(uint64_t(1) << 63, 8) + "{}");
  expect_contains(refuse(), "not a complete safetensors file");
  write_text(path_, little(100, 8) + "{}");
  refuse();
  put("{", 0);
  expect_contains(refuse(), "not valid JSON");
  put("{\"a\":" + std::string(100000, '['), 0);
  expect_contains(refuse(), "nested too deeply");
  put("{}", 4);
  expect_contains(refuse(), "4 unused bytes");
  put(R"({"__metadata__":{"a":1}})", 0);
  expect_contains(refuse(), "not a string");
  put(R"({"__metadata__":[]})", 0);
  expect_contains(refuse(), "not an object");
}

TEST_F(Safetensors, RefusesImpossibleTensors) {
  const auto entry = [](const std::string& dtype, const std::string& shape, const std::string& range) {
    return "{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + range + "}";
  };
  const auto header = [&](const std::string& one) { return "{\"a\":" + one + "}"; };
  put(header(entry("F32", "[2]", "[0,8]")), 8);
  EXPECT_TRUE(reads_or_refuses(path_));
  for (const std::string& bad :
       {entry("F32", "[2]", "[0,4]"), entry("F32", "[2]", "[4,12]"), entry("F32", "[2]", "[8,0]"),
        entry("F32", "[2]", "[-8,0]"), entry("F32", "[-2]", "[0,8]"), entry("F32", "[1.5]", "[0,8]"),
        entry("F32", "[\"2\"]", "[0,8]"), entry("F32", "[2]", "[0]"), entry("F32", "2", "[0,8]"),
        entry("F32", "[4294967296,4294967296,4294967296]", "[0,8]"), entry("F32", "[9223372036854775807,2]", "[0,8]"),
        entry("F32", "[4611686018427387904,4,0]", "[0,8]"), entry("F32", "[18446744073709551615]", "[0,8]"),
        std::string("{}"), std::string("7")}) {
    put(header(bad), 8);
    expect_contains(refuse(), "'a'");
  }
  put(R"({"a":{"dtype":"F32","shape":[2],"shape":[1,2],"data_offsets":[0,8]}})", 8);
  expect_contains(refuse(), "two entries named 'shape'");
  put(header(entry("F31", "[2]", "[0,8]")), 8);
  EXPECT_FALSE(reads_or_refuses(path_)) << "an unknown dtype";
  put("{\"a\":" + entry("F32", "[2]", "[0,8]") + ",\"b\":" + entry("F32", "[2]", "[4,12]") + "}", 12);
  expect_contains(refuse(), "overlaps");
  put("{\"a\":" + entry("F32", "[1]", "[0,4]") + ",\"b\":" + entry("F32", "[1]", "[8,12]") + "}", 12);
  expect_contains(refuse(), "unused bytes before tensor 'b'");
  put("{\"a\":" + entry("F32", "[1]", "[0,4]") + ",\"a\":" + entry("F32", "[1]", "[4,8]") + "}", 8);
  expect_contains(refuse(), "two tensors named 'a'");
}

}  // namespace
}  // namespace coss::test
