// The shared parts of the fuzz targets, and libFuzzer's entry.
#include "tests/fuzz/fuzz.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "engine/check.h"
#include "formats/tensor_file.h"

namespace coss::test {

const std::string& as_file(const std::vector<uint8_t>& bytes) {
  static const int descriptor = memfd_create("input", 0);
  static const std::string path = "/proc/self/fd/" + std::to_string(descriptor);
  if (descriptor < 0 || ftruncate(descriptor, 0) != 0 ||
      pwrite(descriptor, bytes.data(), bytes.size(), 0) != ssize_t(bytes.size())) {
    std::perror("a file in memory");
    std::abort();
  }
  return path;
}

void reads_or_refuses(const std::string& file, const std::function<void()>& read) {
  try {
    read();
  } catch (const Error& error) {
    if (std::string(error.what()).find(file) != std::string::npos) return;
    std::fprintf(stderr, "this error does not name %s: %s\n", file.c_str(), error.what());
    std::abort();
  }
}

void read_tensors(const std::string& path) {
  constexpr int64_t kMostBytes = 1 << 20;
  reads_or_refuses(path, [&] {
    const TensorFile file = open_tensor_file(path);
    for (const FileTensor& tensor : file.tensors()) {
      if (tensor.bytes() <= kMostBytes) file.read_bytes(tensor);
    }
  });
}

}  // namespace coss::test

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  coss::test::fuzz_one({data, data + size});
  return 0;
}
