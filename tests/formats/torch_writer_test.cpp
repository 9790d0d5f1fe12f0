// PyTorch's zip container as coss writes it: the file can be read back, its data is aligned, and it is complete or does
// not exist.
#include "formats/torch_writer.h"

#include <cstring>
#include <filesystem>

#include "tests/formats/format_support.h"
#include "tests/support/support.h"

namespace coss::test {
namespace {

constexpr FileDType kAll[] = {FileDType::f64, FileDType::f32, FileDType::f16,     FileDType::bf16, FileDType::i64,
                              FileDType::i32, FileDType::i16, FileDType::i8,      FileDType::u64,  FileDType::u32,
                              FileDType::u16, FileDType::u8,  FileDType::boolean, FileDType::c64,  FileDType::c128};

NamedTensor counted(const std::string& name, FileDType dtype, std::vector<int64_t> shape) {
  NamedTensor tensor{name, dtype, std::move(shape), {}};
  tensor.bytes.resize(size_t(checked_numel(tensor.shape, dtype, name) * size_of(dtype)));
  for (size_t i = 0; i < tensor.bytes.size(); ++i) tensor.bytes[i] = uint8_t(i % 2);
  return tensor;
}

TEST(TorchWriter, EveryDTypeAndShapeComesBack) {
  std::vector<NamedTensor> tensors;
  for (FileDType dtype : kAll) tensors.push_back(counted(std::string("layer.") + name_of(dtype), dtype, {3, 1, 5}));
  tensors.push_back(counted("scalar", FileDType::i64, {}));
  tensors.push_back(counted("empty", FileDType::f32, {0, 4}));
  tensors.push_back(counted("long", FileDType::f32, {70000}));
  tensors.push_back(counted("größe", FileDType::f32, {2}));
  const std::string path = scratch_folder() + "/w.pth";
  write_torch_zip(path, tensors);

  const TensorFile file = open_tensor_file(path);
  EXPECT_EQ(file.container(), "PyTorch zip");
  ASSERT_EQ(file.tensors().size(), tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) {
    const FileTensor& got = file.tensors()[i];
    EXPECT_EQ(got.name, tensors[i].name);
    EXPECT_EQ(name_of(got.dtype), name_of(tensors[i].dtype)) << got.name;
    EXPECT_EQ(got.shape, tensors[i].shape) << got.name;
    EXPECT_EQ(file.read_bytes(got), tensors[i].bytes) << got.name;
  }
}

TEST(TorchWriter, EntriesAreAlignedAndKnownToOthers) {
  const std::string path = scratch_folder() + "/w.pth";
  NamedTensor tensor = counted("a", FileDType::u8, {100});
  std::memcpy(tensor.bytes.data(), "find me", 7);
  write_torch_zip(path, {counted("b", FileDType::f32, {3}), tensor});
  EXPECT_EQ(read_text(path).find("find me") % 64, 0u);
  std::vector<std::string> names;
  for (const auto& [name, bytes] : read_zip(path)) names.push_back(name);
  EXPECT_EQ(names,
            (std::vector<std::string>{"archive/data.pkl", "archive/.format_version", "archive/.storage_alignment",
                                      "archive/byteorder", "archive/data/0", "archive/data/1", "archive/version"}));
}

TEST(TorchWriter, EqualContentsMakeEqualFiles) {
  const std::string folder = scratch_folder();
  const std::vector<NamedTensor> tensors{counted("a", FileDType::f32, {7}), counted("b", FileDType::u16, {2, 2})};
  write_torch_zip(folder + "/1.pth", tensors);
  write_torch_zip(folder + "/2.pth", tensors);
  EXPECT_EQ(read_text(folder + "/1.pth"), read_text(folder + "/2.pth"));
}

TEST(TorchWriter, RefusesWhatIsNoTensor) {
  const std::string path = scratch_folder() + "/w.pth";
  NamedTensor shorter = counted("a", FileDType::f32, {7});
  shorter.bytes.pop_back();
  expect_contains(error_of([&] { write_torch_zip(path, {shorter}); }), "not those of (7)");
  const NamedTensor twice = counted("a", FileDType::f32, {7});
  expect_contains(error_of([&] { write_torch_zip(path, {twice, twice}); }), "given twice");
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace coss::test
