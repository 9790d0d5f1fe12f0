// Containers other than state dictionaries in zip: whole modules, TorchScript, NumPy and the tar of the first releases,
// against what PyTorch and NumPy read from them; then malicious tar archives.
#include <algorithm>
#include <filesystem>

#include "formats/npy.h"
#include "tests/formats/format_support.h"
#include "tests/support/support.h"

namespace coss::test {
namespace {

// Checks that every tensor of the file `expected_path` is in `path` with the same values.
TensorFile expect_twin(const std::string& path, const std::string& expected_path) {
  TensorFile file = open_tensor_file(path);
  const TensorFile expected = open_tensor_file(expected_path);
  EXPECT_EQ(file.tensors().size(), expected.tensors().size()) << path;
  for (const FileTensor& twin : expected.tensors()) {
    const FileTensor* tensor = file.find(twin.name);
    EXPECT_NE(tensor, nullptr) << path << " lacks " << twin.name;
    if (!tensor) continue;
    EXPECT_EQ(tensor->dtype, twin.dtype) << twin.name;
    EXPECT_EQ(tensor->shape, twin.shape) << twin.name;
    EXPECT_EQ(file.read_bytes(*tensor), expected.read_bytes(twin)) << twin.name;
  }
  return file;
}

std::string golden(const std::string& name) { return golden_path("formats/" + name); }

TEST(Containers, WholeModulesHaveTheNamesOfTheirStateDictionary) {
  for (const std::string name : {"module.pt", "module_legacy.pt"}) {
    const TensorFile file = expect_twin(golden(name), golden("module.safetensors"));
    EXPECT_EQ(file.metadata().at("image_size"), "32");
  }
}

TEST(Containers, TorchScript) {
  const TensorFile file = open_tensor_file(golden("script.pt")),
                   expected = open_tensor_file(golden("module.safetensors"));
  EXPECT_EQ(file.container(), "TorchScript");
  // A buffer that is not persistent cannot be told from other attributes here.
  EXPECT_EQ(file.tensors().size(), expected.tensors().size() + 1);
  for (const FileTensor& twin : expected.tensors()) {
    ASSERT_NE(file.find(twin.name), nullptr) << twin.name;
    EXPECT_EQ(file.read_bytes(*file.find(twin.name)), expected.read_bytes(twin)) << twin.name;
  }
}

TEST(Containers, Numpy) {
  for (const std::string name : {"stored.npz", "deflated.npz"}) {
    EXPECT_EQ(expect_twin(golden(name), golden("npz.safetensors")).container(), "NumPy npz");
  }
  for (const std::string name : {"c_order.npy", "fortran.npy", "big_endian.npy", "scalar.npy", "version3.npy"}) {
    const TensorFile file = open_tensor_file(golden(name));
    const NpyArray array = read_npy(golden(name));
    ASSERT_NE(file.find("tensor"), nullptr);
    EXPECT_EQ(file.find("tensor")->shape, array.shape) << name;
    EXPECT_EQ(file.read_bytes(*file.find("tensor")), array.bytes) << name;
  }
}

TEST(Containers, HostileNumpyArchives) {
  const std::string path = scratch_folder() + "/hostile.npz", array = read_text(golden("c_order.npy"));
  write_zip(path, {{"a.npy", array}, {"readme.txt", "no array"}});
  EXPECT_EQ(open_tensor_file(path).tensors().size(), 1u);
  const auto refuse = [&](const std::string& bytes, const std::string& reason) {
    write_zip(path, {{"good.npy", array}, {"bad.npy", bytes}});
    const std::string message = error_of([&] { open_tensor_file(path); });
    expect_contains(message, "hostile.npz: entry 'bad.npy'");
    expect_contains(message, reason);
  };
  refuse("", "not a .npy file");
  refuse("\x93NUMPY", "not a .npy file");
  refuse(array.substr(0, 40), "truncated");
  refuse(array.substr(0, array.size() - 1), "truncated or corrupt");
  refuse(std::string("\x93NUMPY\2\0\xff\xff\xff\xff", 12), "header is too long");
  refuse(std::string("\x93NUMPY\2\0\xff\xff\0\0", 12), "truncated");
  std::string objects = array;
  objects.replace(objects.find("<f4"), 3, "|O8");
  refuse(objects, "of type '|O8'");
  write_zip(path, {{"readme.txt", "no array"}});
  expect_contains(error_of([&] { open_tensor_file(path); }), "not a PyTorch checkpoint");
}

TEST(Containers, TwinsOfTheSharedFolder) {
  const auto shared = shared_folder();
  if (!shared) GTEST_SKIP() << "the shared folder is missing";
  const std::string folder = *shared + "/checkpoints/";
  const TensorFile script = expect_twin(folder + "clip_jit_twin_fp32.pt", folder + "clip_state_dict_twin_fp32.pt");
  EXPECT_EQ(script.container(), "TorchScript");

  const TensorFile tar = open_tensor_file(folder + "resnet20_cifar10_tar_format_twin.pth");
  const TensorFile legacy = open_tensor_file(folder + "akamaster-cifar10/resnet20-12fca82f.th");
  EXPECT_EQ(tar.container(), "PyTorch tar");
  EXPECT_EQ(tar.tensors().size(), 97u);
  for (const FileTensor& tensor : tar.tensors()) {
    const FileTensor* twin = legacy.find("state_dict.module." + tensor.name);
    ASSERT_NE(twin, nullptr) << tensor.name;
    EXPECT_EQ(tensor.shape, twin->shape) << tensor.name;
    EXPECT_EQ(tar.read_bytes(tensor), legacy.read_bytes(*twin)) << tensor.name;
  }
}

// --- tar ------------------------------------------------------------------------------------------------------------

constexpr size_t kBlock = 512;

std::string octal(uint64_t value, int digits) {
  std::string out(size_t(digits), '0');
  for (size_t i = out.size(); i-- > 0; value /= 8) out[i] = char('0' + value % 8);
  return out;
}

// A header. `size` is the text of its field, so that it may be wrong.
std::string header(const std::string& name, const std::string& size, char type = '0') {
  std::string block(kBlock, '\0');
  block.replace(0, name.size(), name);
  block.replace(124, size.size(), size);
  block.replace(148, 8, "        ");
  block[156] = type;
  block.replace(257, 8, std::string("ustar\00000", 8));
  int64_t sum = 0;
  for (char c : block) sum += uint8_t(c);
  block.replace(148, 7, octal(uint64_t(sum), 6) + '\0');
  return block;
}

std::string padded(std::string content) {
  content.resize((content.size() + kBlock - 1) / kBlock * kBlock, '\0');
  return content;
}

std::string member(const std::string& name, const std::string& content, char type = '0') {
  return header(name, octal(content.size(), 11), type) + padded(content);
}

std::string storage(int key, uint64_t numel, const std::string& numbers) {
  return "\x80\x02K" + std::string(1, char(key)) + "X" + little(3, 4) + "cpuctorch\nFloatStorage\n\x87." +
         little(numel, 8) + numbers;
}

std::string layout(int key, const std::string& storage_key, uint64_t dimensions, const std::vector<int64_t>& numbers) {
  std::string out =
      "\x80\x02K" + std::string(1, char(key)) + storage_key + "ctorch\nFloatTensor\n\x87." + little(dimensions, 8);
  for (int64_t number : numbers) out += little(uint64_t(number), 8);
  return out;
}

std::string count(int value) { return "K" + std::string(1, char(value)) + "."; }

// One storage of four floats, of which tensor 5 takes all; any member may be replaced.
struct Tar {
  std::string facts = "}.", parts = "].", floats = std::string(16, '\1');
  std::string storages = count(1) + storage(1, 4, floats) + parts;
  std::string tensors = count(1) + layout(5, "K\1", 1, {4, 1, 0});
  std::string pickle = "U\0015Q.";
  std::string bytes() const {
    return member("sys_info", facts) + member("pickle", pickle) + member("tensors", tensors) +
           member("storages", storages) + std::string(2 * kBlock, '\0');
  }
};

class HostileTar : public ::testing::Test {
 protected:
  const std::string path_ = scratch_folder() + "/hostile.pth";
  TensorFile open(const std::string& bytes) {
    write_text(path_, bytes);
    return open_tensor_file(path_);
  }
  void refuse(const std::string& bytes, const std::string& reason) {
    const std::string message = error_of([&] { open(bytes); });
    expect_contains(message, path_);
    expect_contains(message, reason);
  }
  void refuse(const Tar& tar, const std::string& reason) { refuse(tar.bytes(), reason); }
};

TEST_F(HostileTar, GoldenEqualsPyTorch) {
  const TensorFile file = expect_twin(golden("tar.pth"), golden("tar.safetensors"));
  EXPECT_EQ(file.container(), "PyTorch tar");
  EXPECT_EQ(file.metadata().at("epoch"), "3");
}

TEST_F(HostileTar, HeadersOfEveryKind) {
  const TensorFile plain = open(Tar().bytes());
  EXPECT_EQ(plain.tensors().at(0).numel(), 4);
  EXPECT_EQ(plain.read_bytes(plain.tensors()[0]), std::vector<uint8_t>(16, 1));
  // Long names, a pax size, a binary size, a folder and a link between the members; no blocks of zeros at the end.
  const Tar tar;
  const std::string binary = std::string("\x80\0\0\0\0\0\0\0\0\0\0", 11) + char(tar.facts.size());
  const std::string bytes = member("folder/", "", '5') + header("sys_info", binary) + padded(tar.facts) +
                            member("././@LongLink", std::string("pickle\0", 7), 'L') + member("short", tar.pickle) +
                            member("PaxHeader", "16 path=tensors\n", 'x') + member("other", tar.tensors) +
                            member("link", "", '2') + member("PaxHeader", "20 comment=anything\n", 'g') +
                            member("storages", tar.storages);
  EXPECT_EQ(open(bytes).tensors().at(0).numel(), 4);
  // The pax size counts, not the header's.
  EXPECT_EQ(open(member("PaxHeader", "10 size=2\n", 'x') + header("sys_info", octal(0, 11)) + padded(tar.facts) +
                 tar.bytes().substr(2 * kBlock))
                .tensors()
                .size(),
            1u);
}

TEST_F(HostileTar, SizesThatLie) {
  const std::string rest = Tar().bytes().substr(2 * kBlock);
  const std::string facts = padded("}.");
  refuse(header("sys_info", octal(1 << 30, 11)) + facts + rest,
         "member 'sys_info' of the tar archive has 1073741824 bytes");
  refuse(header("sys_info", "77777777777") + facts + rest, "of which the file holds");
  refuse(header("sys_info", std::string(12, '\xff')) + facts + rest, "negative size");
  refuse(header("sys_info", "\x80" + std::string(11, '\xff')) + facts + rest, "too large");
  refuse(header("sys_info", std::string("\x80\0\0\0\x7f", 5) + std::string(7, '\xff')) + facts + rest,
         "of which the file holds");
  refuse(header("sys_info", "9") + facts + rest, "digit");
  for (const char* record : {"12 size=-42\n", "28 size=9223372036854775807\n"}) {
    refuse(member("PaxHeader", record, 'x') + member("sys_info", "}.") + rest, "sys_info");
  }
  for (const char* record :
       {"9 size=42\n", "999 size=42\n", "x size=42\n", "0 size=42\n", "3 \n", "5 ab\n", "11 size=4x\n"}) {
    refuse(member("PaxHeader", record, 'x') + member("sys_info", "}.") + rest, "corrupt");
  }
  std::string spoiled = Tar().bytes();
  spoiled[3] = 'X';
  refuse(spoiled, "checksum");
  refuse(Tar().bytes().substr(0, 5 * kBlock + 100), "truncated");
}

TEST_F(HostileTar, MembersThatAreMissing) {
  const Tar tar;
  const std::vector<std::pair<std::string, std::string>> members = {
      {"sys_info", tar.facts}, {"pickle", tar.pickle}, {"tensors", tar.tensors}, {"storages", tar.storages}};
  for (const auto& [left_out, unused] : members) {
    std::string bytes, linked;
    for (const auto& [name, content] : members) {
      if (name != left_out) bytes += member(name, content);
      linked += name != left_out ? member(name, content) : member(name, "", '2');
    }
    refuse(bytes, "without the member '" + left_out + "'");
    refuse(linked, "without the member '" + left_out + "'");  // a link, to any target
    refuse(tar.bytes().substr(0, 8 * kBlock) + member(left_out, "}."), "two members named '" + left_out + "'");
  }
  refuse(member("letter.txt", "no checkpoint"), "without the member 'sys_info', not a PyTorch checkpoint");
}

TEST_F(HostileTar, Storages) {
  Tar tar;
  const auto storages = [&](const std::string& bytes) {
    tar.storages = bytes;
    return tar;
  };
  refuse(storages(""), "truncated");
  refuse(storages(count(2) + storage(1, 4, tar.floats)), "truncated");
  refuse(storages("J\xff\xff\xff\xff."), "the number of storages is missing or impossible");
  refuse(storages("J\xff\xff\xff\x7f."), "the number of storages is missing or impossible");
  for (const uint64_t numel : {uint64_t(1) << 62, ~uint64_t(0), uint64_t(500)}) {
    refuse(storages(count(1) + storage(1, numel, tar.floats) + tar.parts), "truncated or corrupt: storage '1'");
  }
  refuse(storages(count(2) + storage(1, 4, tar.floats) + storage(1, 4, tar.floats) + tar.parts), "'1' is given twice");
  refuse(storages(count(1) + "K\1cmy\nStorage\nN\x87." + little(4, 8)), "unknown class");
  refuse(storages(count(1) + "N."), "corrupt");
  refuse(storages(count(1) + storage(1, 4, tar.floats) + "N."), "shared storages");
  const auto parts = [&](const std::string& list) {
    return storages(count(1) + storage(1, 4, tar.floats) + "](" + list + "e.");
  };
  EXPECT_EQ(open(parts("(K\2K\1K\1K\2t(K\3K\2K\1K\1t").bytes()).tensors().size(), 1u);
  refuse(parts("(K\2K\1K\1K\4t"), "outside its storage");
  refuse(parts("(K\2K\1J\xff\xff\xff\xffK\2t"), "outside its storage");
  refuse(parts("(K\2K\2K\1K\1t"), "storage '2' is not in the file");                // a part of itself
  refuse(parts("(K\2K\3K\1K\1t(K\3K\2K\1K\1t"), "storage '3' is not in the file");  // of each other
  refuse(parts("(K\1K\1K\1K\1t"), "'1' is given twice");
  refuse(parts("(K\2K\1NNt"), "lacks its offset");
  refuse(parts("(K\2K\1t"), "corrupt");
}

TEST_F(HostileTar, Tensors) {
  Tar tar;
  const auto tensors = [&](const std::string& bytes) {
    tar.tensors = count(1) + bytes;
    return tar;
  };
  EXPECT_EQ(open(tensors(layout(5, "K\1", 2, {2, 2, 2, 1, 0})).bytes()).tensors().at(0).shape,
            (std::vector<int64_t>{2, 2}));
  EXPECT_EQ(open(tensors(layout(5, "N", 0, {0})).bytes()).tensors().at(0).numel(), 0);
  EXPECT_TRUE(reads_or_refuses(path_));
  const int64_t huge = INT64_MAX;
  for (const auto& [size, stride, offset] : std::vector<std::array<int64_t, 3>>{
           {5, 1, 0}, {4, 1, 1}, {-1, 1, 0}, {4, -1, 3}, {huge, 1, 0}, {2, huge, 0}, {1, 1, huge}, {1, 1, -1}}) {
    refuse(tensors(layout(5, "K\1", 1, {size, stride, offset})), "a tensor of shape");
  }
  refuse(tensors(layout(5, "N", 1, {4, 1, 0})), "reaches outside");
  refuse(tensors(layout(5, "K\1", 0xffffffff, {0})), "number of dimensions");
  refuse(tensors(layout(5, "K\1", 3, {1})), "truncated");
  refuse(tensors(layout(5, "K\7", 1, {4, 1, 0})), "storage '7' is not in the file");
  refuse(tensors("K\5K\1ctorch\nLongTensor\n\x87." + little(1, 8) + little(2, 8) + little(1, 8) + little(0, 8)),
         "another type than its storage");
  tar = Tar();
  tar.pickle = "U\0016Q.";
  refuse(tar, "tensor '6' is not among the tensors");
  tar.pickle = "cos\nsystem\nU\2ls\x85R.";
  refuse(tar, "os.system");
  tar.pickle = "NQ.";
  refuse(tar, "a key that is no number");
}

}  // namespace
}  // namespace coss::test
