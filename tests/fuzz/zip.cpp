// Fuzz target: PyTorch's zip container, TorchScript and .npz.
#include "tests/fuzz/fuzz.h"

void coss::test::fuzz_one(const std::vector<uint8_t>& bytes) { read_tensors(as_file(bytes)); }
