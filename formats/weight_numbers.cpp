// Convolutions are transposed block by block. All other values have the same order in files and in the engine, so they
// go straight from the file to the parameter.
#include "formats/weight_numbers.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <limits>
#include <memory>
#include <mutex>

#include "engine/finite.h"
#include "engine/kernels.h"
#include "engine/text.h"

namespace coss {
namespace {

// A weight as `count` matrices of (rows, columns) in the file that are (columns, rows) here.
struct Transposition {
  int64_t count = 1, rows = 1, columns = 1;
  bool needed() const { return rows > 1 && columns > 1; }
};

Transposition transposition_of(const Params::Entry& entry) {
  const Shape& s = entry.shape;
  switch (entry.layout) {
    case FileLayout::conv:  // (K,R,S,C) here, (K,C,R,S) there
      return {s[0], s[3], s[1] * s[2]};
    case FileLayout::depthwise:  // (R,S,C) here, (C,1,R,S) there
      return {1, s[2], s[0] * s[1]};
    case FileLayout::transposed:  // (R,C) here, (C,R) there
      return {1, s[1], s[0]};
    case FileLayout::plain:
    case FileLayout::pointwise:
    case FileLayout::leading:
      break;
  }
  return {1, 1, s.numel()};
}

// to (columns, rows) = the transpose of from (rows, columns). One of the two sizes is small: the taps of a window.
void transpose(int64_t rows, int64_t columns, const float* from, float* to) {
  if (columns <= rows) {
    for (int64_t c = 0; c < columns; ++c)
      for (int64_t r = 0; r < rows; ++r) to[c * rows + r] = from[r * columns + c];
  } else {
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < columns; ++c) to[c * rows + r] = from[r * columns + c];
  }
}

// Memory that grows, and that is not set to zero.
class Scratch {
 public:
  template <class T>
  T* of(int64_t count) {
    const size_t bytes = size_t(count) * sizeof(T);
    if (bytes > bytes_) {
      memory_.reset();
      memory_.reset(new uint8_t[bytes]);
      bytes_ = bytes;
    }
    return reinterpret_cast<T*>(memory_.get());
  }

 private:
  std::unique_ptr<uint8_t[]> memory_;
  size_t bytes_ = 0;
};

// What one thread works with.
struct Staging {
  Scratch read, ordered;
};

void fill_one(const TensorFile& file, const Filling& filling, Params& params, Staging& staging) {
  const Params::Entry& entry = *filling.entry;
  Tensor target = params.master(entry);
  const int64_t count = target.numel();
  const bool direct = target.device() == Device::cpu && target.dtype() == DType::f32;
  const bool in_place = direct && !transposition_of(entry).needed();
  float* there = in_place ? target.mutable_data<float>() : staging.read.of<float>(count);
  file.read_floats(*filling.tensor, there);
  check_numbers(file, *filling.tensor, entry.name, there);
  if (in_place) return;
  if (direct) return to_engine_order(entry, there, target.mutable_data<float>());
  float* here = staging.ordered.of<float>(count);
  to_engine_order(entry, there, here);
  if (target.dtype() == DType::f32) return kernels(target).upload(context(target.device()), here, target);
  const std::vector<double> wide(here, here + count);
  kernels(target).upload(context(target.device()), wide.data(), target);
}

}  // namespace

std::vector<int64_t> file_shape(const Params::Entry& entry) {
  const Shape& s = entry.shape;
  switch (entry.layout) {
    case FileLayout::conv:
      return {s[0], s[3], s[1], s[2]};
    case FileLayout::depthwise:
      return {s[2], 1, s[0], s[1]};
    case FileLayout::pointwise:
      return {s[0], s[1], 1, 1};
    case FileLayout::leading: {
      std::vector<int64_t> dims(size_t(3 - s.rank), 1);
      dims.insert(dims.end(), s.dims.begin(), s.dims.begin() + s.rank);
      return dims;
    }
    case FileLayout::transposed:
      return {s[1], s[0]};
    case FileLayout::plain:
      break;
  }
  return {s.dims.begin(), s.dims.begin() + s.rank};
}

void to_engine_order(const Params::Entry& entry, const float* there, float* here) {
  const auto [count, rows, columns] = transposition_of(entry);
  for (int64_t i = 0; i < count; ++i) transpose(rows, columns, there + i * rows * columns, here + i * rows * columns);
}

void to_file_order(const Params::Entry& entry, const float* here, float* there) {
  const auto [count, rows, columns] = transposition_of(entry);
  for (int64_t i = 0; i < count; ++i) transpose(columns, rows, here + i * rows * columns, there + i * rows * columns);
}

void check_numbers(const TensorFile& file, const FileTensor& tensor, const std::string& parameter,
                   const float* values) {
  const int64_t count = tensor.numel();
  const auto fail = [&](int64_t bad, const std::string& kind, int64_t first, const std::string& cause) {
    throw Error(file.path() + ": tensor '" + printable(tensor.name) + "': " + std::to_string(bad) + " of " +
                std::to_string(count) + " values are " + kind + ", the first at position " + std::to_string(first) +
                ": " + cause + "; take another copy or an earlier checkpoint");
  };
  const NotFinite bad = not_finite(values, count);
  if (bad.count > 0)
    fail(bad.count, "not finite (NaN or infinity as fp32)", bad.first,
         "the file is damaged or its training had diverged");
  if (!parameter.ends_with("running_var")) return;
  const auto negative = [](float value) { return value < 0; };
  const float* const first = std::find_if(values, values + count, negative);
  if (first != values + count)
    fail(std::count_if(first, values + count, negative), "negative", first - values,
         "no variance is negative, so the file is damaged");
}

void fill_params(const TensorFile& file, const std::vector<Filling>& fillings, Params& params) {
  // Uploads to a GPU share one stream, so one thread does them.
  const int workers = params.device() == Device::cpu ? threads() : 1;
  // Of several errors the one of the first tensor is thrown, whichever thread found it.
  std::atomic<size_t> failed{std::numeric_limits<size_t>::max()};
  std::exception_ptr error;
  std::mutex mutex;
#pragma omp parallel num_threads(workers)
  {
    Staging staging;
#pragma omp for schedule(dynamic)
    for (size_t i = 0; i < fillings.size(); ++i) {
      if (i > failed) continue;
      try {
        fill_one(file, fillings[i], params, staging);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (i > failed) continue;
        error = std::current_exception();
        failed = i;
      }
    }
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace coss
