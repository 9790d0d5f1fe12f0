// GoldenFile: a file of tests/goldens, and the formula by which both sides fill what it does not store (described in
// tests/goldens/make/make_goldens.py).
#pragma once
#include <string>
#include <vector>

#include "formats/tensor_file.h"
#include "layers/params.h"

namespace coss::test {

class GoldenFile {
 public:
  explicit GoldenFile(const std::string& name);
  std::vector<double> values(const std::string& key) const;
  double number(const std::string& key) const { return values(key).at(0); }
  Tensor tensor(const std::string& key, DType dtype, Device device) const;
  // The rest of each key that starts with `prefix`.
  std::vector<std::string> keys(const std::string& prefix) const;

 private:
  const FileTensor& find(const std::string& key) const;
  TensorFile file_;
};

// u * scale rounded to float, u in [-1, 1).
std::vector<double> golden_noise(const std::string& name, int64_t count, uint64_t seed = 0, double scale = 1);
// (batch, size, size, 3)
Tensor golden_images(const std::string& name, int64_t batch, int64_t size, uint64_t seed, DType dtype, Device device);
// Fills the entries whose names start with `scope` + "." (an empty scope is all of them).
void fill_golden_weights(Params& params, const std::string& scope, uint64_t seed, double gain);

// The entry of that full name; Error when there is none.
const Params::Entry& find_entry(const Params& params, const std::string& name);
// `tensor`, shaped like the entry (its master, gradient or statistic), in PyTorch's order.
std::vector<double> in_file_order(const Params::Entry& entry, const Tensor& tensor);

}  // namespace coss::test
