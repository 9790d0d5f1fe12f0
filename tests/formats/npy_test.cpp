// .npy: files that NumPy wrote, round trips in whole and in pieces, and headers with wrong sizes.
#include "formats/npy.h"

#include <filesystem>
#include <numeric>

#include "tests/formats/format_support.h"
#include "tests/support/support.h"

namespace coss::test {
namespace {

std::vector<float> counted(size_t count) {
  std::vector<float> out(count);
  std::iota(out.begin(), out.end(), 0.f);
  return out;
}

TEST(Npy, ReadsWhatNumPyWrote) {
  for (const char* name : {"c_order", "fortran", "big_endian", "version3"}) {
    std::vector<int64_t> shape;
    EXPECT_EQ(read_npy_floats(golden_path(std::string("formats/") + name + ".npy"), shape), counted(24)) << name;
    EXPECT_EQ(shape, (std::vector<int64_t>{2, 3, 4})) << name;
  }
  const NpyArray scalar = read_npy(golden_path("formats/scalar.npy"));
  EXPECT_EQ(scalar.dtype, FileDType::i16);
  EXPECT_TRUE(scalar.shape.empty());
  EXPECT_EQ(floats_from(scalar.bytes, scalar.dtype, "scalar"), std::vector<float>{-5});
}

TEST(Npy, RowsOfAnOpenFile) {
  const NpyFile file(golden_path("formats/big_endian.npy"));
  EXPECT_EQ(file.rows(), 2);
  EXPECT_EQ(file.row_size(), 12);
  const std::vector<float> all = counted(24);
  EXPECT_EQ(file.read_float_rows(1, 1), std::vector<float>(all.begin() + 12, all.end()));
  EXPECT_TRUE(file.read_rows(2, 0).empty());
  error_of([&] { file.read_rows(1, 2); });
  error_of([&] { file.read_rows(-1, 1); });
  error_of([&] { file.read_rows(1, INT64_MAX); });
  expect_contains(error_of([] { NpyFile(golden_path("formats/fortran.npy")); }), "Fortran order");
}

TEST(Npy, RoundTrip) {
  const std::string path = scratch_folder() + "/x.npy";
  const std::vector<int32_t> values{1, -2, 3, 4, 5, 6};
  for (const std::vector<int64_t>& shape : std::vector<std::vector<int64_t>>{{6}, {2, 3}, {1, 6, 1}, {3, 2}}) {
    write_npy(path, FileDType::i32, shape, values.data());
    const NpyArray array = read_npy(path);
    EXPECT_EQ(array.dtype, FileDType::i32);
    EXPECT_EQ(array.shape, shape);
    EXPECT_EQ(floats_from(array.bytes, array.dtype, path), (std::vector<float>{1, -2, 3, 4, 5, 6}));
    EXPECT_EQ(std::filesystem::file_size(path) % 64, 24u);
  }
  write_npy(path, FileDType::f32, {0, 5}, nullptr);
  EXPECT_EQ(NpyFile(path).row_size(), 5);
  expect_contains(error_of([&] { write_npy(path, FileDType::bf16, {1}, values.data()); }), "bf16");
}

TEST(Npy, WriterInPieces) {
  const std::string folder = scratch_folder(), path = folder + "/x.npy";
  const std::vector<float> values = counted(6);
  {
    NpyWriter writer(path, FileDType::f32, {3, 2});
    for (size_t row = 0; row < 3; ++row) writer.append(values.data() + 2 * row, 8);
    EXPECT_FALSE(std::filesystem::exists(path));
    writer.finish();
  }
  std::vector<int64_t> shape;
  EXPECT_EQ(read_npy_floats(path, shape), values);
  {
    NpyWriter writer(folder + "/y.npy", FileDType::f32, {3, 2});
    writer.append(values.data(), 8);
    error_of([&] { writer.finish(); });
  }
  // The unfinished one left nothing behind.
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), 1);
}

TEST(Npy, RefusesImpossibleHeaders) {
  const std::string path = scratch_folder() + "/bad.npy";
  const auto refuse = [&](const std::string& header, size_t data_bytes) {
    write_text(path,
               std::string("\x93NUMPY\1\0", 8) + little(header.size(), 2) + header + std::string(data_bytes, 'x'));
    const std::string message = error_of([&] { read_npy(path); });
    expect_contains(message, path);
    return message;
  };
  const auto header = [](const std::string& shape) {
    return "{'descr': '<f4', 'fortran_order': False, 'shape': " + shape + ", }\n";
  };
  expect_contains(refuse(header("(2,)"), 7), "truncated or corrupt");
  refuse(header("(2,)"), 9);
  refuse(header("(4294967296, 4294967296, 4)"), 8);
  refuse(header("(9223372036854775807, 9223372036854775807, 0)"), 0);
  refuse(header("(99999999999999999999,)"), 8);
  refuse(header("(-2,)"), 8);
  refuse(header("(2,"), 8);
  refuse(header("(2 3)"), 8);
  refuse(header("2"), 8);
  refuse(header("(" + std::string(300, '1') + ")"), 8);
  refuse("{'descr': '<f4', 'fortran_order': False}", 8);
  refuse("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", 8);
  refuse("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", 8);
  refuse("{'descr': '', 'fortran_order': False, 'shape': (1,)}", 4);
  refuse("{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}", 4);
  refuse("{'x': 1}", 4);
  refuse("", 4);
  write_text(path, std::string("\x93NUMPY\2\0", 8) + little(0xffffffff, 4));
  error_of([&] { read_npy(path); });
  write_text(path, std::string("\x93NUMPY\7\0", 8) + little(0, 4));
  error_of([&] { read_npy(path); });
  write_text(path, "");
  expect_contains(error_of([&] { read_npy(path); }), "not a .npy file");
}

}  // namespace
}  // namespace coss::test
