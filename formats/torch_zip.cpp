// The zip container: "<name>/data.pkl", "<name>/data/<key>" and "<name>/byteorder", stored or deflated. TorchScript
// archives have the same entries, and code, which is not read.
#include <cstring>

#include "formats/torch_file.h"
#include "formats/torch_objects.h"

namespace coss {
namespace {

constexpr int64_t kLargestPickle = 256 << 20;
constexpr int64_t kHighestCompression = 200, kSmallPickle = 1 << 20;

class ZipStorages : public StorageReader {
 public:
  ZipStorages(std::shared_ptr<const ZipArchive> archive, std::vector<TorchStorage> storages,
              std::vector<ZipEntry> places, bool big_endian)
      : archive_(std::move(archive)),
        storages_(std::move(storages)),
        places_(std::move(places)),
        big_endian_(big_endian) {}

  void read(int64_t storage, int64_t offset, uint8_t* out, int64_t bytes) const override {
    const TorchStorage& from = storages_[size_t(storage)];
    if (from.key.empty()) {
      std::memcpy(out, from.bytes.data() + offset, size_t(bytes));
    } else {
      archive_->read(places_[size_t(storage)], offset, out, bytes);
    }
  }
  bool big_endian(int64_t storage) const override {
    const TorchStorage& from = storages_[size_t(storage)];
    return from.key.empty() ? from.big_endian : big_endian_;
  }

 private:
  std::shared_ptr<const ZipArchive> archive_;
  std::vector<TorchStorage> storages_;
  std::vector<ZipEntry> places_;
  bool big_endian_;
};

// "<name>/" of the entry "<name>/data.pkl".
std::string find_root(const ZipArchive& archive) {
  std::string root;
  bool found = false;
  for (int64_t i = 0; i < archive.entries(); ++i) {
    const std::string name = archive.name(i);
    if (name != "data.pkl" && !name.ends_with("/data.pkl")) continue;
    COSS_CHECK(!found, archive.path() + " holds more than one data.pkl");
    root = name.substr(0, name.size() - std::strlen("data.pkl"));
    found = true;
  }
  COSS_CHECK(found, archive.path() + " is a zip archive without a data.pkl, not a PyTorch checkpoint");
  return root;
}

bool says_big_endian(const ZipArchive& archive, const std::string& root) {
  ZipEntry entry;
  if (!archive.find(root + "byteorder", entry)) return false;
  COSS_CHECK(entry.bytes <= 16, archive.path() + ": the entry 'byteorder' is too long");
  std::string text(size_t(entry.bytes), '\0');
  archive.read(entry, 0, reinterpret_cast<uint8_t*>(text.data()), entry.bytes);
  COSS_CHECK(text == "little" || text == "big", archive.path() + ": unknown byte order '" + text + "'");
  return text == "big";
}

}  // namespace

TensorFileParts read_torch_zip(std::shared_ptr<const ZipArchive> archive) {
  const std::string root = find_root(*archive);
  ZipEntry pickle;
  COSS_CHECK(archive->find(root + "data.pkl", pickle), archive->path() + " holds no data.pkl");
  COSS_CHECK(pickle.bytes <= kLargestPickle, archive->path() + ": data.pkl is larger than 256 MiB");
  // No real pickle is compressed this much, but one that was made to fill the memory is.
  COSS_CHECK(pickle.bytes <= kSmallPickle || pickle.bytes / kHighestCompression <= pickle.compressed,
             archive->path() + ": data.pkl is compressed to less than 1/" + std::to_string(kHighestCompression) +
                 " of its size, which coss does not trust");
  std::vector<uint8_t> bytes(size_t(pickle.bytes));
  archive->read(pickle, 0, bytes.data(), pickle.bytes);

  ByteStream stream(archive->path(), std::move(bytes));
  PickleHeap heap(archive->path());
  TorchObjects objects;
  const PickleRef object = run_pickle(stream, heap, objects);

  TensorFileParts parts;
  parts.path = archive->path();
  // A TorchScript archive differs by the code beside its pickle, which is not read.
  ZipEntry constants;
  parts.container = archive->find(root + "constants.pkl", constants) ? "TorchScript" : "PyTorch zip";
  parts.tensors = objects.flatten(heap, object, parts.metadata);
  parts.unknown_classes = objects.unknown_classes();
  std::vector<ZipEntry> places;
  for (const TorchStorage& storage : objects.storages()) {
    ZipEntry& entry = places.emplace_back();
    if (storage.key.empty()) continue;
    const int64_t needed = storage.numel * size_of(storage.dtype);
    COSS_CHECK(archive->find(root + "data/" + storage.key, entry),
               parts.path + ": storage '" + storage.key + "' is not in the file");
    COSS_CHECK(entry.bytes == needed, parts.path + ": storage '" + storage.key + "' has " +
                                          std::to_string(entry.bytes) + " bytes where " + std::to_string(needed) +
                                          " are expected");
  }
  const bool big_endian = says_big_endian(*archive, root);
  parts.storages = std::make_shared<ZipStorages>(archive, objects.take_storages(), std::move(places), big_endian);
  return parts;
}

}  // namespace coss
