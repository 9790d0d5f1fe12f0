// The container of torch 0.1.10 to 1.5.
//   pickles: magic number, protocol version, system facts, the object, the keys of the storages in file order
//   then per storage: an int64 element count and the raw numbers
#include <algorithm>
#include <cstring>

#include "formats/file_storages.h"
#include "formats/torch_file.h"
#include "formats/torch_objects.h"

namespace coss {
namespace {

constexpr uint8_t kMagic[] = {0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};
constexpr int64_t kProtocol = 1001;

// The position of each storage's numbers in the file, by its index; -1 for storages that are not in it.
std::vector<int64_t> locate_storages(ByteStream& stream, const PickleHeap& heap, PickleRef keys,
                                     const TorchObjects& objects, bool big_endian) {
  if (heap[keys].kind != PickleKind::list) heap.fail("the list of storages is missing");
  std::vector<int64_t> begins(objects.storages().size(), -1);
  int64_t position = stream.position();
  for (PickleRef key : heap[keys].items) {
    const int64_t index = objects.find_storage(heap[key].text);
    if (index < 0) heap.fail("storage '" + heap[key].text + "' is of no known type");
    const TorchStorage& storage = objects.storages()[size_t(index)];
    uint64_t numel = stream.little(8);
    if (big_endian) numel = __builtin_bswap64(numel);
    if (numel != uint64_t(storage.numel)) {
      heap.fail("storage '" + storage.key + "' has " + std::to_string(numel) + " elements where " +
                std::to_string(storage.numel) + " are expected");
    }
    position = stream.position();
    const int64_t bytes = storage.numel * size_of(storage.dtype);
    if (bytes > stream.left()) {
      heap.fail("the file is truncated: storage '" + storage.key + "' needs " + std::to_string(bytes) +
                " bytes where " + std::to_string(stream.left()) + " are left");
    }
    begins[size_t(index)] = position;
    stream.skip(bytes);
  }
  for (size_t i = 0; i < begins.size(); ++i) {
    const TorchStorage& storage = objects.storages()[i];
    if (!storage.key.empty() && begins[i] < 0) heap.fail("storage '" + storage.key + "' is not in the file");
  }
  return begins;
}

}  // namespace

bool looks_like_torch_legacy(const FileBytes& file) {
  // The first pickle holds the magic number only; its protocol may differ.
  const std::vector<uint8_t> head = file.head(32);
  return head.size() > 2 && head[0] == 0x80 &&
         std::search(head.begin(), head.end(), std::begin(kMagic), std::end(kMagic)) != head.end();
}

TensorFileParts read_torch_legacy(std::shared_ptr<const FileBytes> file) {
  ByteStream stream(file, 0, file->size());
  PickleHeap heap(file->path());
  TorchObjects objects;
  run_pickle(stream, heap, objects);  // the magic number
  const PickleRef protocol = run_pickle(stream, heap, objects);
  if (heap[protocol].integer != kProtocol) heap.fail("this is not a PyTorch file of protocol 1001");
  const bool big_endian = says_big_endian(heap, run_pickle(stream, heap, objects));
  const PickleRef root = run_pickle(stream, heap, objects);
  const PickleRef keys = run_pickle(stream, heap, objects);

  TensorFileParts parts;
  parts.path = file->path();
  parts.container = "PyTorch legacy";
  parts.tensors = objects.flatten(heap, root, parts.metadata);
  parts.unknown_classes = objects.unknown_classes();
  std::vector<int64_t> begins = locate_storages(stream, heap, keys, objects, big_endian);
  parts.storages = std::make_shared<FileStorages>(file, objects.take_storages(), std::move(begins), big_endian);
  return parts;
}

}  // namespace coss
