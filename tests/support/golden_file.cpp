// Reads goldens, and computes the formula of tests/goldens/make/golden_support.py in C++.
#include "tests/support/golden_file.h"

#include <cmath>
#include <string_view>

#include "tests/support/support.h"

namespace coss::test {

GoldenFile::GoldenFile(const std::string& name) : file_(open_tensor_file(golden_path(name))) {}

const FileTensor& GoldenFile::find(const std::string& key) const {
  const FileTensor* tensor = file_.find(key);
  COSS_CHECK(tensor, file_.path() + " has no tensor " + key);
  return *tensor;
}

std::vector<double> GoldenFile::values(const std::string& key) const {
  const std::vector<float> floats = file_.read_floats(find(key));
  return {floats.begin(), floats.end()};
}

Tensor GoldenFile::tensor(const std::string& key, DType dtype, Device device) const {
  Shape shape;
  for (const int64_t size : find(key).shape) shape.dims[size_t(shape.rank++)] = size;
  return make_tensor(values(key), shape, dtype, device);
}

std::vector<std::string> GoldenFile::keys(const std::string& prefix) const {
  std::vector<std::string> found;
  for (const FileTensor& tensor : file_.tensors())
    if (tensor.name.starts_with(prefix)) found.push_back(tensor.name.substr(prefix.size()));
  return found;
}

namespace {

std::vector<double> uniform(const std::string& name, int64_t count, uint64_t seed) {
  uint64_t key = 0xCBF29CE484222325ull;
  for (const char c : name) key = (key ^ uint8_t(c)) * 0x100000001B3ull;
  key += seed * 0xD1B54A32D192ED03ull;
  std::vector<double> values(static_cast<size_t>(count));
  for (size_t j = 0; j < values.size(); ++j) {
    uint64_t z = key + (j + 1) * 0x9E3779B97F4A7C15ull;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    z ^= z >> 31;
    values[j] = double(z >> 11) * 0x1p-52 - 1;
  }
  return values;
}

// The index in PyTorch's layout of element i of an entry in the engine's layout.
int64_t file_position(const Params::Entry& entry, int64_t i) {
  const Shape& s = entry.shape;
  if (entry.layout == FileLayout::transposed) return i % s[1] * s[0] + i / s[1];
  if (entry.layout != FileLayout::conv && entry.layout != FileLayout::depthwise) return i;
  const int64_t channels = s.back(), c = i % channels, rest = i / channels;
  if (entry.layout == FileLayout::depthwise) return c * (s[0] * s[1]) + rest;  // (R,S,C) <- (C,1,R,S)
  const int64_t window = s[1] * s[2], k = rest / window;                       // (K,R,S,C) <- (K,C,R,S)
  return (k * channels + c) * window + rest % window;
}

std::vector<double> parameter_values(const Params::Entry& entry, const std::string& name, uint64_t seed, double gain) {
  std::vector<double> values = uniform(name, entry.shape.numel(), seed);
  const bool leading = entry.layout == FileLayout::leading;  // (1,…) in files
  if (entry.shape.rank >= 2 || leading) {
    const bool last = entry.layout == FileLayout::depthwise || entry.layout == FileLayout::transposed;
    const int64_t filters = leading ? 1 : last ? entry.shape.back() : entry.shape[0];
    const double size = std::sqrt(3.0 * double(filters) / double(entry.shape.numel())) * gain;
    for (double& u : values) u *= size;
  } else if (name.ends_with("running_var")) {
    for (double& u : values) u = 1 + 0.2 * u;
  } else if (name.ends_with("weight")) {
    for (double& u : values) u = 1 + 0.1 * u;
  } else {
    for (double& u : values) u *= 0.1;
  }
  return values;
}

}  // namespace

std::vector<double> golden_noise(const std::string& name, int64_t count, uint64_t seed, double scale) {
  std::vector<double> values = uniform(name, count, seed);
  for (double& u : values) u = double(float(u * scale));
  return values;
}

Tensor golden_images(const std::string& name, int64_t batch, int64_t size, uint64_t seed, DType dtype, Device device) {
  return make_tensor(golden_noise(name, batch * size * size * 3, seed, 1.7), {batch, size, size, 3}, dtype, device);
}

void fill_golden_weights(Params& params, const std::string& scope, uint64_t seed, double gain) {
  const std::string prefix = scope.empty() ? "" : scope + ".";
  for (const Params::Entry& entry : params.entries()) {
    if (!entry.name.starts_with(prefix)) continue;
    const std::vector<double> file = parameter_values(entry, entry.name.substr(prefix.size()), seed, gain);
    Tensor master = params.master(entry);
    std::vector<double> values(file.size());
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = double(float(file[size_t(file_position(entry, int64_t(i)))]));
    const Tensor source = make_tensor(values, master.shape(), master.dtype(), master.device());
    kernels(master).cast(context(master.device()), source, master);
  }
  params.refresh_compute();
}

const Params::Entry& find_entry(const Params& params, const std::string& name) {
  for (const Params::Entry& entry : params.entries())
    if (entry.name == name) return entry;
  throw Error("no parameter is called " + name);
}

std::vector<double> in_file_order(const Params::Entry& entry, const Tensor& tensor) {
  const std::vector<double> values = tensor.to_doubles();
  std::vector<double> file(values.size());
  for (size_t i = 0; i < values.size(); ++i) file[size_t(file_position(entry, int64_t(i)))] = values[i];
  return file;
}

}  // namespace coss::test
