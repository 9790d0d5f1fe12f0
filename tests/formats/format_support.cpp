// Small files for the readers' tests.
#include "tests/formats/format_support.h"

#include <zip.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <sstream>

#include "formats/layouts.h"

namespace coss::test {

std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void write_text(const std::string& path, const std::string& text) {
  // Replacing a file's contents makes some file systems wait for the disk; a new file does not.
  std::filesystem::remove(path);
  std::ofstream(path, std::ios::binary | std::ios::trunc).write(text.data(), std::streamsize(text.size()));
}

ZipEntries read_zip(const std::string& path) {
  ZipEntries entries;
  int code = 0;
  zip_t* zip = zip_open(path.c_str(), ZIP_RDONLY, &code);
  EXPECT_NE(zip, nullptr);
  for (zip_int64_t i = 0; zip && i < zip_get_num_entries(zip, 0); ++i) {
    zip_stat_t facts;
    EXPECT_EQ(zip_stat_index(zip, zip_uint64_t(i), 0, &facts), 0);
    std::string bytes(facts.size, '\0');
    zip_file_t* file = zip_fopen_index(zip, zip_uint64_t(i), 0);
    EXPECT_EQ(zip_fread(file, bytes.data(), bytes.size()), zip_int64_t(bytes.size()));
    zip_fclose(file);
    entries.emplace_back(facts.name, bytes);
  }
  if (zip) zip_discard(zip);
  return entries;
}

void write_zip(const std::string& path, const ZipEntries& entries, bool deflated) {
  std::filesystem::remove(path);
  int code = 0;
  zip_t* zip = zip_open(path.c_str(), ZIP_CREATE | ZIP_TRUNCATE, &code);
  ASSERT_NE(zip, nullptr);
  for (const auto& [name, bytes] : entries) {
    zip_source_t* source = zip_source_buffer(zip, bytes.data(), bytes.size(), 0);
    const zip_int64_t index = zip_file_add(zip, name.c_str(), source, 0);
    ASSERT_GE(index, 0);
    zip_set_file_compression(zip, zip_uint64_t(index), deflated ? ZIP_CM_DEFLATE : ZIP_CM_STORE, 0);
  }
  ASSERT_EQ(zip_close(zip), 0);
}

void write_pickle_zip(const std::string& path, const std::string& pickle) {
  write_zip(path, {{"x/data.pkl", pickle}, {"x/data/0", std::string(16, '\1')}});
}

bool reads_or_refuses(const std::string& path) {
  try {
    const TensorFile file = open_tensor_file(path);
    for (const FileTensor& tensor : file.tensors()) {
      EXPECT_EQ(int64_t(file.read_bytes(tensor).size()), tensor.bytes());
    }
    return true;
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(path), std::string::npos) << error.what();
    return false;
  }
}

void expect_contains(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << "'" << part << "' is not in: " << text;
}

std::string little(uint64_t value, int bytes) {
  std::string out;
  for (int i = 0; i < bytes; ++i) out += char(uint8_t(value >> (8 * i)));
  return out;
}

namespace {

class Hollow : public StorageReader {
 public:
  void read(int64_t, int64_t, uint8_t* out, int64_t bytes) const override { std::fill(out, out + bytes, uint8_t(0)); }
  bool big_endian(int64_t) const override { return false; }
};

}  // namespace

TensorFile hollow_file(const Named& tensors) {
  TensorFileParts parts{"hollow", "test", {}, {}, {}, std::make_shared<Hollow>()};
  for (const auto& [name, shape] : tensors) {
    parts.tensors.push_back({name, FileDType::f32, shape, 0, 0, std::vector<int64_t>(shape.size(), 0), {}});
  }
  return TensorFile(std::move(parts));
}

Named read_manifest(const std::string& path) {
  Named tensors;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    std::string name, dtype, dims;
    std::getline(fields, name, '\t');
    std::getline(fields, dtype, '\t');
    std::getline(fields, dims);
    std::vector<int64_t> shape;
    std::istringstream sizes(dims);
    for (std::string size; std::getline(sizes, size, 'x');) shape.push_back(std::stoll(size));
    tensors.emplace_back(name, shape);
  }
  return tensors;
}

std::vector<WantedTensor> wanted_from(const Named& manifest) {
  std::vector<WantedTensor> wanted;
  for (const auto& [name, shape] : manifest) {
    if (!is_batch_counter(name)) wanted.push_back({name, shape});
  }
  return wanted;
}

}  // namespace coss::test
