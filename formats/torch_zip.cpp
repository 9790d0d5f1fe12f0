// The zip container: "<name>/data.pkl", "<name>/data/<key>" and "<name>/byteorder", stored or deflated.
#include <zip.h>

#include <algorithm>
#include <cstring>

#include "formats/torch_file.h"
#include "formats/torch_objects.h"

namespace coss {
namespace {

constexpr int64_t kLargestPickle = 256 << 20;
constexpr int64_t kBestDeflation = 1040;  // no deflated entry is larger than this many times its bytes

struct Entry {
  zip_uint64_t index = 0;
  int64_t bytes = 0;
  bool stored = false;
};

class Archive {
 public:
  explicit Archive(const std::string& path) : path_(path) {
    int code = 0;
    zip_ = zip_open(path.c_str(), ZIP_RDONLY, &code);
    if (!zip_) {
      zip_error_t error;
      zip_error_init_with_code(&error, code);
      const std::string reason = zip_error_strerror(&error);
      zip_error_fini(&error);
      throw Error(path + " is a truncated or corrupt zip archive (" + reason + ")");
    }
  }
  Archive(const Archive&) = delete;
  Archive& operator=(const Archive&) = delete;
  ~Archive() { zip_discard(zip_); }

  const std::string& path() const { return path_; }
  int64_t entries() const { return zip_get_num_entries(zip_, 0); }
  // "" when an entry has no readable name.
  std::string name(int64_t index) const {
    const char* text = zip_get_name(zip_, zip_uint64_t(index), 0);
    return text ? text : "";
  }

  // False when there is no such entry; Error when its facts are impossible.
  bool find(const std::string& name, Entry& entry) const {
    const zip_int64_t index = zip_name_locate(zip_, name.c_str(), 0);
    if (index < 0) return false;
    zip_stat_t facts;
    COSS_CHECK(zip_stat_index(zip_, zip_uint64_t(index), 0, &facts) == 0 && (facts.valid & ZIP_STAT_SIZE) &&
                   (facts.valid & ZIP_STAT_COMP_SIZE) && (facts.valid & ZIP_STAT_COMP_METHOD),
               path_ + ": the facts of entry '" + name + "' are missing");
    COSS_CHECK(facts.size <= uint64_t(INT64_MAX) && facts.size / kBestDeflation <= facts.comp_size,
               path_ + ": entry '" + name + "' has an impossible size");
    entry = {zip_uint64_t(index), int64_t(facts.size), facts.comp_method == ZIP_CM_STORE};
    return true;
  }

  void read(const Entry& entry, int64_t offset, uint8_t* out, int64_t bytes) const {
    COSS_CHECK(offset >= 0 && bytes >= 0 && offset <= entry.bytes && bytes <= entry.bytes - offset,
               path_ + ": read outside an entry of the archive");
    zip_file_t* file = zip_fopen_index(zip_, entry.index, 0);
    COSS_CHECK(file != nullptr, path_ + " is corrupt (" + zip_strerror(zip_) + ")");
    const bool ok = skip(file, offset, entry.stored) && fill(file, out, bytes);
    // Reading on to the end lets the library compare the checksum.
    uint8_t end = 0;
    const bool whole = offset == 0 && bytes == entry.bytes;
    const bool sound = ok && (!whole || zip_fread(file, &end, 1) == 0);
    const std::string reason = sound ? "" : zip_file_strerror(file);
    zip_fclose(file);
    COSS_CHECK(sound, path_ + " is truncated or corrupt: entry '" + name(int64_t(entry.index)) + "' (" + reason + ")");
  }

 private:
  static bool fill(zip_file_t* file, uint8_t* out, int64_t bytes) {
    while (bytes > 0) {
      const zip_int64_t got = zip_fread(file, out, zip_uint64_t(bytes));
      if (got <= 0) return false;
      out += got;
      bytes -= got;
    }
    return true;
  }
  // Stored entries seek; compressed ones are read over.
  static bool skip(zip_file_t* file, int64_t bytes, bool stored) {
    if (stored) return zip_fseek(file, bytes, SEEK_SET) == 0;
    uint8_t waste[4096];
    for (; bytes > 0; bytes -= std::min<int64_t>(bytes, sizeof(waste))) {
      if (!fill(file, waste, std::min<int64_t>(bytes, sizeof(waste)))) return false;
    }
    return true;
  }

  std::string path_;
  zip_t* zip_;
};

class ZipStorages : public StorageReader {
 public:
  ZipStorages(std::shared_ptr<const Archive> archive, std::vector<TorchStorage> storages, std::vector<Entry> places,
              bool big_endian)
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
  std::shared_ptr<const Archive> archive_;
  std::vector<TorchStorage> storages_;
  std::vector<Entry> places_;
  bool big_endian_;
};

// "<name>/" of the entry "<name>/data.pkl". Refuses TorchScript, which has code beside it.
std::string find_root(const Archive& archive) {
  std::string root;
  bool found = false, script = false;
  for (int64_t i = 0; i < archive.entries(); ++i) {
    const std::string name = archive.name(i);
    if (name == "data.pkl" || name.ends_with("/data.pkl")) {
      COSS_CHECK(!found, archive.path() + " holds more than one data.pkl");
      root = name.substr(0, name.size() - std::strlen("data.pkl"));
      found = true;
    }
    script |= name.ends_with("/constants.pkl") || name.find("/code/") != std::string::npos;
  }
  COSS_CHECK(!script, archive.path() + " is a TorchScript archive, which coss cannot read yet: save its state_dict()");
  COSS_CHECK(found, archive.path() + " is a zip archive without a data.pkl, not a PyTorch checkpoint");
  return root;
}

bool says_big_endian(const Archive& archive, const std::string& root) {
  Entry entry;
  if (!archive.find(root + "byteorder", entry)) return false;
  COSS_CHECK(entry.bytes <= 16, archive.path() + ": the entry 'byteorder' is too long");
  std::string text(size_t(entry.bytes), '\0');
  archive.read(entry, 0, reinterpret_cast<uint8_t*>(text.data()), entry.bytes);
  COSS_CHECK(text == "little" || text == "big", archive.path() + ": unknown byte order '" + text + "'");
  return text == "big";
}

}  // namespace

bool looks_like_torch_zip(const FileBytes& file) {
  const std::vector<uint8_t> head = file.head(4);
  return head.size() == 4 && std::memcmp(head.data(), "PK\3\4", 4) == 0;
}

TensorFileParts read_torch_zip(std::shared_ptr<const FileBytes> file) {
  const auto archive = std::make_shared<const Archive>(file->path());
  const std::string root = find_root(*archive);
  Entry pickle;
  COSS_CHECK(archive->find(root + "data.pkl", pickle), file->path() + " holds no data.pkl");
  COSS_CHECK(pickle.bytes <= kLargestPickle, file->path() + ": data.pkl is larger than 256 MiB");
  std::vector<uint8_t> bytes(size_t(pickle.bytes));
  archive->read(pickle, 0, bytes.data(), pickle.bytes);

  ByteStream stream(file->path(), std::move(bytes));
  PickleHeap heap(file->path());
  TorchObjects objects;
  const PickleRef object = run_pickle(stream, heap, objects);

  TensorFileParts parts;
  parts.path = file->path();
  parts.container = "PyTorch zip";
  parts.tensors = objects.flatten(heap, object, parts.metadata);
  std::vector<Entry> places;
  for (const TorchStorage& storage : objects.storages()) {
    Entry& entry = places.emplace_back();
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
