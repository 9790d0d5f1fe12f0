// Fuzz target: NumPy's .npy.
#include "formats/npy.h"

#include "tests/fuzz/fuzz.h"

void coss::test::fuzz_one(const std::vector<uint8_t>& bytes) {
  const std::string& path = as_file(bytes);
  reads_or_refuses(path, [&] { read_npy(path); });
  reads_or_refuses(path, [&] {
    const NpyFile file(path);
    if (file.rows() > 0) file.read_rows(file.rows() - 1, 1);
  });
}
