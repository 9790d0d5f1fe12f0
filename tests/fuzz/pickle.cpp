// Fuzz target: the pickle machine with PyTorch's objects, without a container's checks around it.
#include "formats/pickle.h"

#include "formats/torch_objects.h"
#include "tests/fuzz/fuzz.h"

void coss::test::fuzz_one(const std::vector<uint8_t>& bytes) {
  const std::string name = "the pickle's file";
  reads_or_refuses(name, [&] {
    ByteStream stream(name, bytes);
    PickleHeap heap(name);
    TorchObjects objects;
    const PickleRef object = run_pickle(stream, heap, objects);
    std::map<std::string, std::string> metadata;
    objects.flatten(heap, object, metadata);
  });
}
