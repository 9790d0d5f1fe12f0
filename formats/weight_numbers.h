// The values of one parameter: their order in a file and in the engine, and how they are moved.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "formats/tensor_file.h"
#include "layers/params.h"

namespace coss {

// The parameter's shape in PyTorch's files.
std::vector<int64_t> file_shape(const Params::Entry& entry);

// Both arrays have entry.shape.numel() floats: `there` in the order of files, `here` in the order of the engine.
void to_engine_order(const Params::Entry& entry, const float* there, float* here);
void to_file_order(const Params::Entry& entry, const float* here, float* there);

// Throws an Error that names file and tensor where one of its `values` is NaN or infinite, or negative in a running
// variance. `parameter` is the name of the parameter that the tensor fills.
void check_numbers(const TensorFile& file, const FileTensor& tensor, const std::string& parameter, const float* values);

// One parameter and the tensor of the file that fills it.
struct Filling {
  const Params::Entry* entry;
  const FileTensor* tensor;
};
// Fills all these parameters, on the threads of the CPU kernels. It needs memory for one tensor per thread. Throws what
// reading and check_numbers throw; some parameters are filled by then.
void fill_params(const TensorFile& file, const std::vector<Filling>& fillings, Params& params);

}  // namespace coss
