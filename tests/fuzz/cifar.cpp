// Fuzz target: CIFAR's binary version.
#include "data/cifar.h"

#include <filesystem>

#include "tests/fuzz/fuzz.h"

void coss::test::fuzz_one(const std::vector<uint8_t>& bytes) {
  static const std::filesystem::path folder = [] {
    std::string name = (std::filesystem::temp_directory_path() / "coss-fuzz-XXXXXX").string();
    return std::filesystem::path(mkdtemp(name.data()));
  }();
  // The only file of the folder is a link to the one in memory.
  for (const char* name : {"test_batch.bin", "test.bin"}) {
    const std::filesystem::path link = folder / name;
    std::filesystem::remove(link);
    std::filesystem::create_symlink(as_file(bytes), link);
    reads_or_refuses(link.string(), [&] {
      const auto dataset = open_cifar(folder.string(), Split::test);
      std::vector<uint8_t> pixels;
      const auto all = [](int32_t height, int32_t width) { return Region{0, 0, height, width}; };
      dataset->read(dataset->size() - 1, all, pixels);
    });
    std::filesystem::remove(link);
  }
}
