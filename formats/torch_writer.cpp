// Writes the pickle of a state dictionary, and a zip archive of stored entries whose bytes begin at multiples of 64.
#include "formats/torch_writer.h"

#include <algorithm>
#include <set>

#include "formats/atomic_file.h"
#include "formats/crc32.h"
#include "formats/pickle_writer.h"

namespace coss {
namespace {

constexpr int64_t kAlignment = 64;  // so that a reader may map the storages
constexpr int64_t kLongestFile = 0xffffffff, kMostEntries = 0xffff;
constexpr char kFolder[] = "archive/";

// The class that names a storage's dtype; null for those that PyTorch stores as bytes with the dtype beside them.
const char* storage_class(FileDType dtype) {
  switch (dtype) {
    case FileDType::f64:
      return "DoubleStorage";
    case FileDType::f32:
      return "FloatStorage";
    case FileDType::f16:
      return "HalfStorage";
    case FileDType::bf16:
      return "BFloat16Storage";
    case FileDType::i64:
      return "LongStorage";
    case FileDType::i32:
      return "IntStorage";
    case FileDType::i16:
      return "ShortStorage";
    case FileDType::i8:
      return "CharStorage";
    case FileDType::u8:
      return "ByteStorage";
    case FileDType::boolean:
      return "BoolStorage";
    case FileDType::c64:
      return "ComplexFloatStorage";
    case FileDType::c128:
      return "ComplexDoubleStorage";
    case FileDType::u64:
    case FileDType::u32:
    case FileDType::u16:
    case FileDType::f8_e4m3:
    case FileDType::f8_e5m2:
      break;
  }
  return nullptr;
}

// For a dtype that has no class of storages.
const char* untyped_name(FileDType dtype) {
  switch (dtype) {
    case FileDType::u64:
      return "uint64";
    case FileDType::u32:
      return "uint32";
    case FileDType::u16:
      return "uint16";
    case FileDType::f8_e4m3:
      return "float8_e4m3fn";
    default:
      return "float8_e5m2";
  }
}

// ('storage', class, key, 'cpu', numel), to be looked up in data/<key>.
void write_storage(PickleWriter& pickle, const NamedTensor& tensor, const std::string& key) {
  const char* typed = storage_class(tensor.dtype);
  pickle.begin();
  pickle.text("storage");
  pickle.global(typed ? "torch" : "torch.storage", typed ? typed : "UntypedStorage");
  pickle.text(key);
  pickle.text("cpu");
  pickle.integer(int64_t(tensor.bytes.size()) / (typed ? size_of(tensor.dtype) : 1));
  pickle.end_tuple();
  pickle.persistent();
}

std::string pickle_of(const std::vector<NamedTensor>& tensors) {
  PickleWriter pickle;
  pickle.ordered_dictionary();
  pickle.begin();
  for (size_t i = 0; i < tensors.size(); ++i) {
    const NamedTensor& tensor = tensors[i];
    const bool typed = storage_class(tensor.dtype) != nullptr;
    std::vector<int64_t> strides(tensor.shape.size());
    int64_t stride = 1;
    for (size_t axis = strides.size(); axis-- > 0;) {
      strides[axis] = stride;
      stride *= std::max<int64_t>(tensor.shape[axis], 1);
    }
    pickle.text(tensor.name);
    pickle.global("torch._utils", typed ? "_rebuild_tensor_v2" : "_rebuild_tensor_v3");
    pickle.begin();
    write_storage(pickle, tensor, std::to_string(i));
    pickle.integer(0);
    pickle.integers(tensor.shape);
    pickle.integers(strides);
    pickle.boolean(false);        // requires_grad
    pickle.ordered_dictionary();  // backward hooks
    if (!typed) pickle.global("torch", untyped_name(tensor.dtype));
    pickle.end_tuple();
    pickle.call();
  }
  pickle.set_items();
  pickle.stop();
  return pickle.take();
}

// A zip archive whose entries are stored one after another.
class ZipWriter {
 public:
  explicit ZipWriter(const std::string& path) : path_(path), file_(path) {}

  void add(const std::string& name, const void* data, size_t bytes) {
    const std::string full = kFolder + name;
    check_size(int64_t(bytes));
    // The padding is an extra field, as PyTorch's own: its mark, its length, and letters that nobody reads.
    const int64_t bare = offset_ + 30 + int64_t(full.size()) + 4;
    const int64_t padding = (kAlignment - bare % kAlignment) % kAlignment;
    const std::string extra = "FB" + little(uint64_t(padding), 2) + std::string(size_t(padding), 'Z');
    const std::string facts = little(kStored, 2) + little(kDate, 4) +
                              little(crc32_of(static_cast<const uint8_t*>(data), bytes), 4) + little(bytes, 4) +
                              little(bytes, 4) + little(full.size(), 2);
    directory_ += "PK\1\2" + little(0, 2) + little(0, 2) + little(kNamesAreUtf8, 2) + facts + little(0, 2) +
                  little(0, 2) + little(0, 2) + little(0, 2) + little(0, 4) + little(uint64_t(offset_), 4) + full;
    write("PK\3\4" + little(0, 2) + little(kNamesAreUtf8, 2) + facts + little(extra.size(), 2) + full + extra);
    file_.write(data, bytes);
    offset_ += int64_t(bytes);
    ++entries_;
  }
  void add(const std::string& name, const std::string& text) { add(name, text.data(), text.size()); }

  void commit() {
    check_size(int64_t(directory_.size()));
    const int64_t start = offset_;
    write(directory_);
    write("PK\5\6" + little(0, 4) + little(uint64_t(entries_), 2) + little(uint64_t(entries_), 2) +
          little(directory_.size(), 4) + little(uint64_t(start), 4) + little(0, 2));
    file_.commit();
  }

 private:
  static constexpr uint64_t kStored = 0, kNamesAreUtf8 = 1 << 11;
  static constexpr uint64_t kDate = 0x00210000;  // 1 January 1980: equal contents make equal files

  void write(const std::string& text) {
    file_.write(text);
    offset_ += int64_t(text.size());
  }
  void check_size(int64_t more) const {
    COSS_CHECK(offset_ + more + int64_t(directory_.size()) < kLongestFile - (1 << 20) && entries_ < kMostEntries,
               path_ + ": too large for PyTorch's container as coss writes it (4 GiB); write .safetensors instead");
  }

  std::string path_, directory_;
  AtomicFile file_;
  int64_t offset_ = 0, entries_ = 0;
};

}  // namespace

void write_torch_zip(const std::string& path, const std::vector<NamedTensor>& tensors) {
  std::set<std::string> names;
  for (const NamedTensor& tensor : tensors) {
    const std::string what = path + ": tensor '" + tensor.name + "'";
    COSS_CHECK(names.insert(tensor.name).second, what + " is given twice");
    COSS_CHECK(
        checked_numel(tensor.shape, tensor.dtype, what) * size_of(tensor.dtype) == int64_t(tensor.bytes.size()),
        what + " has " + std::to_string(tensor.bytes.size()) + " bytes, not those of " + shape_text(tensor.shape));
  }
  ZipWriter zip(path);
  zip.add("data.pkl", pickle_of(tensors));
  zip.add(".format_version", "1");
  zip.add(".storage_alignment", std::to_string(kAlignment));
  zip.add("byteorder", "little");
  for (size_t i = 0; i < tensors.size(); ++i)
    zip.add("data/" + std::to_string(i), tensors[i].bytes.data(), tensors[i].bytes.size());
  zip.add("version", "3\n");
  zip.commit();
}

}  // namespace coss
