// The container of torch up to 0.1.9, a tar archive of four members:
//   sys_info: a pickled dictionary
//   storages: a pickled count; per storage a pickled (key, location, class), an int64 count and the raw numbers; then a
//             pickled list of storages that are parts of others, (key, key of the whole, offset, count)
//   tensors:  a pickled count; per tensor a pickled (key, key of its storage, class), the number of dimensions in 8
//             bytes, of which 4 are padding, int64 sizes, strides and offset
//   pickle:   the object, in which a tensor is a persistent id, its key
#include <unordered_map>

#include "formats/file_storages.h"
#include "formats/tar_archive.h"
#include "formats/torch_file.h"
#include "formats/torch_objects.h"

namespace coss {
namespace {

constexpr int64_t kMostDimensions = 32;

// Resolves the ids in the member 'pickle' to the tensors that were read before.
class TarObjects : public TorchObjects {
 public:
  PickleRef persistent(PickleHeap& heap, PickleRef id) override {
    const PickleValue& value = heap[id];
    // (class, source file, source): a class of a whole module.
    if (value.kind == PickleKind::tuple && !value.items.empty() && heap[value.items[0]].kind == PickleKind::global) {
      return value.items[0];
    }
    const auto found = tensors_by_key.find(key_text(heap, id));
    if (found == tensors_by_key.end()) heap.fail("tensor '" + key_text(heap, id) + "' is not among the tensors");
    return found->second;
  }

  static std::string key_text(const PickleHeap& heap, PickleRef key) {
    const PickleValue& value = heap[key];
    if (value.kind == PickleKind::text) return value.text;
    if (value.kind != PickleKind::integer) heap.fail("a storage or tensor has a key that is no number");
    return std::to_string(value.integer);
  }

  std::unordered_map<std::string, PickleRef> storages_by_key, tensors_by_key;
};

class Reader {
 public:
  explicit Reader(std::shared_ptr<const FileBytes> file)
      : file_(std::move(file)), archive_(*file_), heap_(file_->path()) {}

  TensorFileParts read() {
    for (const char* name : {"sys_info", "storages", "tensors", "pickle"}) {
      COSS_CHECK(archive_.find(name), file_->path() + " is a tar archive without the member '" + name +
                                          "', not a PyTorch checkpoint (or it is truncated)");
    }
    ByteStream facts = open("sys_info");
    const bool big_endian = says_big_endian(heap_, run_pickle(facts, heap_, objects_));
    read_storages(big_endian);
    read_tensors();
    ByteStream pickle = open("pickle");
    const PickleRef root = run_pickle(pickle, heap_, objects_);

    TensorFileParts parts;
    parts.path = file_->path();
    parts.container = "PyTorch tar";
    parts.tensors = objects_.flatten(heap_, root, parts.metadata);
    parts.unknown_classes = objects_.unknown_classes();
    begins_.resize(objects_.storages().size(), -1);
    parts.storages = std::make_shared<FileStorages>(file_, objects_.take_storages(), std::move(begins_), big_endian);
    return parts;
  }

 private:
  ByteStream open(const char* member) const {
    const TarMember place = *archive_.find(member);
    return ByteStream(file_, place.begin, place.begin + place.bytes);
  }

  // A pickled count of records, each of which takes some bytes.
  int64_t read_count(ByteStream& stream, const char* what) {
    const PickleRef count = run_pickle(stream, heap_, objects_);
    const PickleValue& value = heap_[count];
    if (value.kind != PickleKind::integer || value.integer < 0 || value.integer > stream.left()) {
      heap_.fail(std::string("the number of ") + what + " is missing or impossible");
    }
    return value.integer;
  }

  // Reads a pickled tuple or list of `length` values.
  std::vector<PickleRef> read_record(ByteStream& stream, size_t length) {
    return record(run_pickle(stream, heap_, objects_), length);
  }
  std::vector<PickleRef> record(PickleRef ref, size_t length) const {
    const PickleValue& value = heap_[ref];
    const bool sequence = value.kind == PickleKind::tuple || value.kind == PickleKind::list;
    if (!sequence || value.items.size() != length) heap_.fail("the description of a storage or tensor is corrupt");
    return value.items;
  }

  void keep(std::unordered_map<std::string, PickleRef>& by_key, const std::string& key, PickleRef value) {
    if (!by_key.emplace(key, value).second) heap_.fail("the key '" + key + "' is given twice");
  }

  PickleRef storage_of(PickleRef key) const {
    const std::string text = TarObjects::key_text(heap_, key);
    const auto found = objects_.storages_by_key.find(text);
    if (found == objects_.storages_by_key.end()) heap_.fail("storage '" + text + "' is not in the file");
    return found->second;
  }

  void read_storages(bool big_endian) {
    ByteStream stream = open("storages");
    const int64_t count = read_count(stream, "storages");
    for (int64_t i = 0; i < count; ++i) {
      const std::vector<PickleRef> facts = read_record(stream, 3);  // key, location, class
      const std::string key = TarObjects::key_text(heap_, facts[0]);
      const FileDType dtype = objects_.dtype_of(heap_, facts[2]);
      uint64_t numel = stream.little(8);
      if (big_endian) numel = __builtin_bswap64(numel);
      if (numel > uint64_t(stream.left()) / uint64_t(size_of(dtype))) {
        heap_.fail("the file is truncated or corrupt: storage '" + key + "' has " + std::to_string(numel) +
                   " elements where " + std::to_string(stream.left()) + " bytes are left");
      }
      keep(objects_.storages_by_key, key, objects_.add_storage(heap_, key, dtype, int64_t(numel)));
      place_last(stream.position());
      stream.skip(int64_t(numel) * size_of(dtype));
    }
    const PickleRef parts = run_pickle(stream, heap_, objects_);
    if (heap_[parts].kind != PickleKind::list) heap_.fail("the list of shared storages is missing");
    // A whole must be known before its part, so that no storage can be a part of itself.
    const std::vector<PickleRef> items = heap_[parts].items;
    for (PickleRef item : items) {
      const std::vector<PickleRef> part = record(item, 4);  // key, key of the whole, offset, count
      const PickleValue &offset = heap_[part[2]], &length = heap_[part[3]];
      if (offset.kind != PickleKind::integer || length.kind != PickleKind::integer) {
        heap_.fail("a shared storage lacks its offset or size");
      }
      const int64_t begin = offset.integer, numel = length.integer;
      keep(objects_.storages_by_key, TarObjects::key_text(heap_, part[0]),
           objects_.add_part(heap_, storage_of(part[1]), begin, numel));
    }
  }

  // Sets the position of the last storage; storages of arrays in the pickles have no position in the file.
  void place_last(int64_t position) {
    begins_.resize(objects_.storages().size(), -1);
    if (begins_.back() < 0) begins_.back() = position;
  }

  void read_tensors() {
    ByteStream stream = open("tensors");
    const int64_t count = read_count(stream, "tensors");
    for (int64_t i = 0; i < count; ++i) {
      const std::vector<PickleRef> facts = read_record(stream, 3);  // key, key of the storage, class
      const std::string key = TarObjects::key_text(heap_, facts[0]);
      FileTensor tensor;
      tensor.dtype = objects_.dtype_of(heap_, facts[2]);
      const int64_t dimensions = int64_t(stream.little(4));
      stream.skip(4);
      if (dimensions > kMostDimensions) heap_.fail("tensor '" + key + "' has an impossible number of dimensions");
      for (int64_t axis = 0; axis < dimensions; ++axis) tensor.shape.push_back(int64_t(stream.little(8)));
      for (int64_t axis = 0; axis < dimensions; ++axis) tensor.strides.push_back(int64_t(stream.little(8)));
      tensor.offset = int64_t(stream.little(8));
      keep(objects_.tensors_by_key, key, add_tensor(std::move(tensor), facts[1], key));
    }
  }

  PickleRef add_tensor(FileTensor tensor, PickleRef storage_key, const std::string& key) {
    if (heap_[storage_key].kind == PickleKind::none) {
      // A tensor without a storage is empty. In these releases no dimensions meant the same.
      if (tensor.shape.empty()) tensor.shape = tensor.strides = {0};
      tensor.offset = 0;
      const PickleRef nothing = objects_.add_storage(heap_, "nothing of tensor " + key, tensor.dtype, 0);
      place_last(0);
      return objects_.add_tensor(heap_, std::move(tensor), nothing);
    }
    const PickleRef storage = storage_of(storage_key);
    if (objects_.dtype_of_storage(heap_, storage) != tensor.dtype) {
      heap_.fail("tensor '" + key + "' is of another type than its storage");
    }
    return objects_.add_tensor(heap_, std::move(tensor), storage);
  }

  std::shared_ptr<const FileBytes> file_;
  TarArchive archive_;
  PickleHeap heap_;
  TarObjects objects_;
  std::vector<int64_t> begins_;  // positions of the storages; -1 where the bytes were in a pickle
};

}  // namespace

TensorFileParts read_torch_tar(std::shared_ptr<const FileBytes> file) { return Reader(std::move(file)).read(); }

}  // namespace coss
